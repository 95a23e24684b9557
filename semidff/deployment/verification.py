"""One report on an exported video detector against the one in PyTorch."""

from collections.abc import Sequence
from typing import NamedTuple

from semidff.models import VideoDetector

from .onnx_video_detector import OnnxVideoDetector
from .parity import TOLERANCE, Difference, compare_maps, unmatched_detections


class ParityReport(NamedTuple):
    """What :func:`verify` found.

    Attributes:
        maps: Differences before NMS, by graph and output.
        detections: Number of detections in PyTorch, all frames together.
        lost: How many of them onnxruntime does not have.
        added: How many onnxruntime has and PyTorch does not.
        frames: Number of frames.
    """

    maps: dict[str, Difference]
    detections: int
    lost: int
    added: int
    frames: int

    @property
    def equal(self) -> bool:
        """Whether all outputs before NMS agree to :data:`~semidff.deployment.parity.TOLERANCE`."""
        return all(difference.relative < TOLERANCE for difference in self.maps.values())

    def __str__(self) -> str:
        head = ('output', 'largest value', 'absolute', 'relative')
        lines = ['{:32}{:>16}{:>12}{:>12}'.format(*head)]
        for name, (largest, absolute, relative) in self.maps.items():
            mark = '' if relative < TOLERANCE else f'  above {TOLERANCE}'
            lines.append(f'{name:32}{largest:16.4g}{absolute:12.2e}{relative:12.2e}{mark}')
        lines.append(
            f'after NMS, {self.frames} frames: {self.detections} detections by PyTorch, of which {self.lost} '
            f'have no counterpart by onnxruntime; {self.added} the other way round'
        )
        return '\n'.join(lines)


def verify(
    model: VideoDetector, exported: OnnxVideoDetector, batches: Sequence[dict]
) -> ParityReport:
    """Compares on a key frame and the frames that follow it.

    Args:
        model: The model in PyTorch.
        exported: The same model's graphs.
        batches: Collated test batches of one frame each, at least two.
    """
    maps = compare_maps(model.eval(), exported, batches)
    found = unmatched_detections(model, exported, batches, key_interval=len(batches))
    return ParityReport(maps, *found, len(batches))
