"""Console commands: they run the files of tools/, which are in the package too."""

import runpy

from semidff.utils.installed import PROJECT


def train() -> None:
    """``semidff-train``, as tools/train.py."""
    _run('train')


def test() -> None:
    """``semidff-test``, as tools/test.py."""
    _run('test')


def demo() -> None:
    """``semidff-demo``, as tools/video_demo.py."""
    _run('video_demo')


def experiment() -> None:
    """``semidff-experiment``, as tools/run_experiment.py."""
    _run('run_experiment')


def _run(tool: str) -> None:
    runpy.run_path(str(PROJECT / 'tools' / f'{tool}.py'), run_name='__main__')
