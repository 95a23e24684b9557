"""Options of commands for how a detector is run."""

from dataclasses import dataclass
from typing import Literal

from semidff.utils.command_line import Count


@dataclass(frozen=True)
class MethodOptions:
    """Method and key frames; None: as the config or the folder says.

    Attributes:
        method: propagate: features propagated by the temporal module; frame: detector on every
            frame; track: boxes of key frames moved by sparse optical flow; small: the detector at
            half the input size; focus: the detector on a canvas of crops around the tracked
            objects; copy: key frame's boxes repeated; interpolate: boxes interpolated between key
            frames, offline; centered: as propagate, from the nearest key frame before or after,
            offline; sff-fast, sff-slow: features propagated by OpenCV's optical flow (default: that
            of the config or of the folder, else propagate, and frame without temporal module).
        key_interval: Key-frame interval l (default: as for the method, else 10).
        scene_cuts: Add a key frame at each scene cut.
        filter: Follow objects through the video: with earlier frames alone, or with later ones,
            too, which is better; identities: keep the boxes of the method.
        light_every: Detect on every Nth non-key frame alone and track the boxes on the others; 0:
            on none (default: 1).
    """

    method: str | None = None
    key_interval: Count | None = None
    scene_cuts: bool = False
    filter: Literal['none', 'causal', 'both', 'identities'] | None = None
    light_every: int | None = None

    def schedule(self, key_interval: int = 10) -> dict | None:
        """Return the config of the schedule; None for fixed intervals. ``key_interval`` is used if
        none is given.
        """
        interval = self.key_interval if self.key_interval is not None else key_interval
        return dict(type='SceneCutSchedule', base=interval) if self.scene_cuts else None
