"""The configs of the project that can be built in this environment."""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]
SEGMENTATION = {'segmentation', 'cityscapes'}  # need mmsegmentation
CONFIGS = sorted(
    path.relative_to(ROOT / 'configs').as_posix()
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts and (find_spec('mmseg') or not SEGMENTATION & {*path.parts})
)


def load(name: str) -> Config:
    """A config, from the repository's root whatever the working folder is."""
    return Config.fromfile(ROOT / 'configs' / name)


def trainings() -> list[str]:
    """Configs that train something."""
    return [name for name in CONFIGS if 'model' in load(name)]


def commands_of(file: str, tool: str = 'train') -> dict[str, tuple[str, list[str]]]:
    """Config and settings of the trainings of an experiment, or of its tests, for one seed: by the
    name of the step.
    """
    command = ['make', '-n', '-f', file, 'OUT=out', 'SEEDS=0']
    text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    found = {}
    for line in text.replace('\\\n', '').splitlines():
        if match := re.search(rf'tools/{tool}.py (\S+) .*?--work-dir (\S+) (.*) > ', line):
            config, folder, options = match.groups()
            name = Path(folder).name if tool == 'train' else Path(folder).parent.name
            found[name] = config, options.partition('--cfg-options')[2].split()
    return found
