"""Console commands ``semidff-...``: they run the files of tools/, which are in the package too."""

import runpy
import sys
from collections.abc import Callable
from functools import partial

from semidff.utils.files import PROJECT

_SHORT = dict(demo='video_demo', experiment='run_experiment')


def __getattr__(name: str) -> Callable[[], None]:
    """Return the function of a command, which has the name of its tool or a short one."""
    if name.startswith('_'):
        raise AttributeError(name)
    return partial(_run, _SHORT.get(name, name))


def _run(tool: str) -> None:
    file = next((PROJECT / 'tools').rglob(f'{tool}.py'), None)
    if file is None:  # .mim has links, which zip archives do not restore
        sys.exit(
            f'{PROJECT}/tools: has no {tool}.py. semidff was installed from an archive without symbolic links, such as '
            'a zip file; install it from git or a tar archive'
        )
    runpy.run_path(str(file), run_name='__main__')
