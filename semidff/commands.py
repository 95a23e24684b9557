"""Console commands ``semidff-...``: they run the files of tools/, which are in the package too."""

import runpy
import sys
from functools import partial

from semidff.utils.files import PROJECT


def _run(tool: str) -> None:
    file = PROJECT / 'tools' / f'{tool}.py'
    if not file.is_file():  # .mim has links, which zip archives do not restore
        sys.exit(
            f'{file}: is missing. semidff was installed from an archive without symbolic links, such as a zip file; '
            'install it from git or a tar archive'
        )
    runpy.run_path(str(file), run_name='__main__')


train = partial(_run, 'train')
test = partial(_run, 'test')
demo = partial(_run, 'video_demo')
experiment = partial(_run, 'run_experiment')
adapt = partial(_run, 'adapt')
