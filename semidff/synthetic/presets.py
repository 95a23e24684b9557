"""Sizes of generated data sets."""

from dataclasses import dataclass, replace

VERSION = 4  # Increase it if the same arguments give other pictures.


@dataclass(frozen=True)
class DatasetSpec:
    """Arguments of a data set; equal arguments and versions give equal files, byte for byte.

    Each part draws from its own stream of the seed.

    Attributes:
        seed: Seed of the data set.
        height: Height of all frames, even.
        width: Width of all frames, even.
        motion: Factor on all movements of the videos.
        stills: Labeled pictures for stage one; 0 omits a part.
        videos: Unlabeled mp4 videos for stage two.
        video_length: Frames per unlabeled video.
        train: Labeled videos for supervised training.
        train_length: Frames per training video.
        label_every: Every n-th frame of a training video is labeled.
        val: Labeled videos for evaluation.
        dev: Labeled videos for choosing settings, so that none is chosen on val.
        eval_length: Frames per video of val and dev.
        flow: Pairs with true flow, in the format of Flying Chairs.
        label_maps: 1 adds label maps for semantic segmentation.
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
    label_maps: int = 0

    def length(self, split: str) -> int:
        """Number of frames of a labeled video."""
        return self.train_length if split == 'train' else self.eval_length

    def is_labeled(self, split: str, frame: int) -> bool:
        """Return whether a frame of a labeled video has labels."""
        return split != 'train' or frame % self.label_every == 0

    def count(self, part: str) -> int:
        """Return the number of items of a part; ``<part>_labels`` are the label maps of a part."""
        base = part.removesuffix('_labels')
        return getattr(self, base) if base == part or self.label_maps else 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        return self.height, self.width


PRESETS = {
    'quickstart': DatasetSpec(),
    'long': DatasetSpec(stills=6000, videos=400, train=200, val=32, dev=16, flow=4000),
    'tiny': DatasetSpec(
        height=96, width=128, stills=6, videos=2, video_length=12, train=2, train_length=12, val=2,
        dev=2, eval_length=12, flow=4,
    ),
}  # fmt: skip


def make_spec(preset: str = 'quickstart', **changes) -> DatasetSpec:
    """Return a preset with some arguments changed; None keeps the preset's value."""
    return replace(PRESETS[preset], **{k: v for k, v in changes.items() if v is not None})
