"""Console commands ``semidff-...``: they run the files of tools/, which are in the package too."""

import runpy
from functools import partial

from semidff.utils.installed import PROJECT


def _run(tool: str) -> None:
    runpy.run_path(str(PROJECT / 'tools' / f'{tool}.py'), run_name='__main__')


train = partial(_run, 'train')
test = partial(_run, 'test')
demo = partial(_run, 'video_demo')
experiment = partial(_run, 'run_experiment')
adapt = partial(_run, 'adapt')
