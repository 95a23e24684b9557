"""The folder that an adaptation leaves: config, weights and the operating point that it recommends."""

import warnings
from pathlib import Path
from typing import NamedTuple

from semidff.inference import schedule_config
from semidff.utils.model_building import ConfigError, read_config


class AdaptedFolder(NamedTuple):
    """What is used of a folder of :func:`~semidff.apis.adapt`.

    Attributes:
        config: The config file.
        weights: The checkpoint of the video detector.
        detector: That of the image detector, for methods that do not run the temporal module: training changes the
            task network.
        method: The recommended method.
        key_interval: The recommended key-frame interval.
        schedule: Config of the recommended schedule; None: fixed intervals.
        scale: Recommended input size relative to that of the config.
    """

    config: str
    weights: str
    detector: str
    method: str
    key_interval: int
    schedule: dict | None
    scale: float

    @classmethod
    def read(cls, folder: Path) -> 'AdaptedFolder':
        """Read a folder, with a warning if it recommends nothing.

        Raises:
            ConfigError: If it lacks the config or the weights.
        """
        files = [folder / name for name in ('config.py', 'last.pth', 'detector.pth')]
        if missing := [file.name for file in files if not file.is_file()]:
            raise ConfigError(
                f'{folder}: has no {" and no ".join(missing)}; give a folder that tools/adapt.py has finished, or a '
                'config file'
            )
        point = dict(read_config(files[0]).get('recommended') or {})
        if not point:
            warnings.warn(
                f'{folder}: recommends no operating point, since its validation is not finished; the default is '
                'propagation with key-frame interval 10. Run tools/adapt.py again',
                stacklevel=2,
            )
        method, interval = point.get('method', 'propagate'), point.get('key_interval', 10)
        schedule = None
        if method == 'adaptive':
            method, schedule = 'propagate', schedule_config(interval, str(folder / 'adaptive.json'))
        return cls(*map(str, files), method, interval, schedule, point.get('scale', 1.0))
