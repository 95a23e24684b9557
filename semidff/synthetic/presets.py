"""Sizes of generated data sets."""

from __future__ import annotations

from dataclasses import dataclass, replace

VERSION = 1  # Increase it if the same arguments give other pictures.


@dataclass(frozen=True)
class DatasetSpec:
    """Arguments of a data set; equal arguments and versions give equal files, byte for byte.

    Attributes:
        seed: Any non-negative integer. Each part draws from its own stream of this seed.
        height: Height of all frames, even.
        width: Width of all frames, even.
        motion: Factor on all movements of the videos.
        stills: Labeled pictures for stage one.
        videos: Unlabeled videos for stage two; every second one is fast.
        video_length: Frames per unlabeled video.
        train: Labeled videos for supervised training; every second one is fast.
        train_length: Frames per training video.
        label_every: Every `label_every`-th frame of a training video is labeled.
        val: Labeled videos for evaluation; every second one is fast.
        dev: Labeled videos for choosing settings, so that nothing is chosen on `val`.
        eval_length: Frames per video of `val` and `dev`.
        flow: Pairs with true flow.
        crops: Classification crops.
        crop_size: Side of the crops in pixels.
    """

    seed: int = 0
    height: int = 192
    width: int = 256
    motion: float = 1.0
    stills: int = 2400
    videos: int = 120
    video_length: int = 40
    train: int = 60
    train_length: int = 40
    label_every: int = 3
    val: int = 16
    dev: int = 8
    eval_length: int = 60
    flow: int = 1200
    crops: int = 6000
    crop_size: int = 64

    def __post_init__(self):
        for name in ('height', 'width'):
            value = getattr(self, name)
            if value < 96 or value % 2:
                raise ValueError(f'{name}={value}: frames must be even and at least 96 pixels')
        for name in ('seed', 'stills', 'videos', 'train', 'val', 'dev', 'flow', 'crops', 'motion'):
            if getattr(self, name) < 0:
                raise ValueError(f'{name}={getattr(self, name)}: must not be negative')
        for name in ('video_length', 'train_length', 'eval_length'):
            if getattr(self, name) < 2:
                raise ValueError(f'{name}={getattr(self, name)}: a video needs at least 2 frames')
        if self.label_every < 1:
            raise ValueError(f'label_every={self.label_every}: must be at least 1')
        if self.crop_size < 24:
            raise ValueError(f'crop_size={self.crop_size}: crops must be at least 24 pixels')

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        return self.height, self.width


PRESETS = {
    'quickstart': DatasetSpec(),
    'long': DatasetSpec(stills=6000, videos=400, train=200, val=32, dev=16, flow=4000, crops=12000),
    'tiny': DatasetSpec(
        height=96, width=128, stills=6, videos=2, video_length=12, train=2, train_length=12, val=2,
        dev=2, eval_length=12, flow=4, crops=40, crop_size=32,
    ),
}  # fmt: skip


def make_spec(preset: str = 'quickstart', **changes) -> DatasetSpec:
    """Return a preset with some arguments changed; arguments that are None keep the preset's value."""
    if preset not in PRESETS:
        raise ValueError(f'preset {preset!r} is not one of {tuple(PRESETS)}')
    return replace(PRESETS[preset], **{k: v for k, v in changes.items() if v is not None})
