"""Sizes of generated data sets."""

from dataclasses import dataclass, field, replace

VERSION = 2  # Increase it if the same arguments give other pictures.


def _argument(default: float, text: str):
    """Return a field with its default and its description on the command line."""
    return field(default=default, metadata={'help': text})


@dataclass(frozen=True)
class DatasetSpec:
    """Arguments of a data set; equal arguments and versions give equal files, byte for byte.

    Each part draws from its own stream of the seed. Every second video is fast.
    """

    seed: int = _argument(0, 'seed of the data set')
    height: int = _argument(192, 'height of all frames, even')
    width: int = _argument(256, 'width of all frames, even')
    motion: float = _argument(1.0, 'factor on all movements of the videos')
    shake: float = _argument(1.0, 'further factor on the shake of the hand-held camera')
    stills: int = _argument(2400, 'labeled pictures for stage one; 0 omits a part')
    videos: int = _argument(120, 'unlabeled mp4 videos for stage two')
    video_length: int = _argument(40, 'frames per unlabeled video')
    train: int = _argument(60, 'labeled videos for supervised training')
    train_length: int = _argument(40, 'frames per training video')
    label_every: int = _argument(3, 'every n-th frame of a training video is labeled')
    val: int = _argument(16, 'labeled videos for evaluation')
    dev: int = _argument(8, 'labeled videos for choosing settings, so that none is chosen on val')
    eval_length: int = _argument(60, 'frames per video of val and dev')
    flow: int = _argument(1200, 'pairs with true flow, in the format of Flying Chairs')
    crops: int = _argument(6000, 'classification crops, which replace ImageNet')
    crop_size: int = _argument(64, 'side of the crops in pixels')
    label_maps: int = _argument(0, '1 adds label maps for semantic segmentation')

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
    'long': DatasetSpec(stills=6000, videos=400, train=200, val=32, dev=16, flow=4000, crops=12000),
    'tiny': DatasetSpec(
        height=96, width=128, stills=6, videos=2, video_length=12, train=2, train_length=12, val=2,
        dev=2, eval_length=12, flow=4, crops=40, crop_size=32,
    ),
}  # fmt: skip


def make_spec(preset: str = 'quickstart', **changes) -> DatasetSpec:
    """Return a preset with some arguments changed; arguments that are None keep the preset's value."""
    return replace(PRESETS[preset], **{k: v for k, v in changes.items() if v is not None})
