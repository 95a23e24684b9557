"""The configs of the project that can be built in this environment."""

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
    """Configs that train something; experiments have no model of their own."""
    return [name for name in CONFIGS if 'model' in load(name)]
