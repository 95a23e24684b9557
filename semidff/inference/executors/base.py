"""What methods ask of an executor."""

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from mmdet.structures import SampleList
from torch import Tensor, nn

from semidff.models.key_frame import FlowField, KeyFrame
from semidff.models.video_detector import VideoDetector


class Executor(Protocol):
    """Computes key frames and non-key frames (DFF Algorithm 1), in batches of any number of frames
    of one size.

    The eager executor is :class:`~semidff.models.VideoDetector` itself. Frames come from its
    ``preprocess``; sizes may change from call to call. Results are on the host.

    Attributes:
        model: The video detector, with its settings.
    """

    model: VideoDetector

    def prepare(self, key: Hashable, predict: Callable[['Executor'], Any]) -> None:
        """Prepare for frames of a new size, before workers predict them; once for each ``key``.

        ``predict`` calls the following methods of the executor that it is given, as the workers
        will do, now or later. Until an executor is prepared, it predicts in PyTorch.
        """

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        """Detect on key frames (N, 3, H, W); return results, and what non-key frames need."""

    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: KeyFrame,
        flow_field: FlowField | None = None,
    ) -> SampleList:
        """Detect on non-key frames (N, 3, H, W), given their key frames, N or one for all.

        ``flow_field`` is the result of :meth:`flow_field` for the same frames, if it was computed
        already.
        """

    def flow_field(self, inputs: Tensor, key: KeyFrame) -> FlowField:
        """Compute the flow field of non-key frames; of the key frames, only the images are used."""

    def with_temporal(self, temporal: nn.Module | None) -> 'Executor':
        """Return an executor of the same detector with another temporal module, or without one."""

    def independent(self) -> 'Executor | None':
        """Return an executor for another thread that shares the weights; None if there is none."""


def as_executor(model: nn.Module | Executor) -> Executor:
    """Return the eager executor of a video detector or mmdet detector; an executor as it is."""
    return VideoDetector.wrap(model) if isinstance(model, nn.Module) else model


def executors_at_once(executor: Executor, count: int) -> list[Executor]:
    """Return executors for as many threads; ``executor`` alone if there are no others."""
    copies = [executor.independent() for _ in range(count)] if count > 1 else [None]
    return copies if all(copies) else [executor]
