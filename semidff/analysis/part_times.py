"""Times of a video detector's parts, and the ratio and speed-up of DFF Eqs. 5 and 7 that follow."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.structures import SampleList
from torch import Tensor

from semidff.inference.timer import timed
from semidff.models.key_frame import KeyFrame
from semidff.models.spatial.probe import plain_samples
from semidff.models.video_detector import VideoDetector

PARTS = {
    'feature_network': 'N_feat: feature network',
    'flow': 'F: flow network',
    'scale': 'S: scale field',
    'flow_and_scale': 'F + S: flow network with its downsampled input, scale field',
    'warp': 'W: warp, product and correction',
    'task_network': 'N_task: task network',
    'task_non_key': 'N_task: task network and post-processing, propagated features',
    'task_key': "N_task: the same, the frame's own features",
}
"""Labels of the parts that are timed (:class:`PartTimes`) or counted (``complexity``)."""


def speedup_of(ratio: float, key_interval: int) -> float:
    """Speed-up s of DFF Eq. 7 for a ratio r of costs (Eq. 5) and a key-frame interval l."""
    return key_interval / (1 + (key_interval - 1) * ratio)


class PartTimes(NamedTuple):
    """Median times of the parts in milliseconds; :data:`PARTS` says what each one includes."""

    feature_network: float
    flow_and_scale: float
    warp: float
    task_non_key: float
    task_key: float

    @classmethod
    def medians(cls, seconds: dict[str, list[float]]) -> 'PartTimes':
        """Compute the medians of the times that :func:`time_parts` measured."""
        return cls(*(1000 * float(np.median(seconds[name])) for name in cls._fields))

    @property
    def key(self) -> float:
        """Time of a key frame."""
        return self.feature_network + self.task_key

    @property
    def non_key(self) -> float:
        """Time of a non-key frame."""
        return self.flow_and_scale + self.warp + self.task_non_key

    @property
    def ratio(self) -> float:
        """r of DFF Eq. 5."""
        return self.non_key / self.key

    def bound(self, key_interval: int, overhead: float = 0.0) -> float:
        """Largest speed-up over frame-by-frame detection.

        Args:
            key_interval: Key-frame interval l.
            overhead: Milliseconds a that *every* frame takes outside the network (decoding, for example). With 0, the
                bound is that of Eq. 7; else it is ``l (a + key) / (l a + key + (l - 1) non_key)``.
        """
        return speedup_of((overhead + self.non_key) / (overhead + self.key), key_interval)


@torch.no_grad()
def time_parts(model: VideoDetector, clip: Iterable[dict], seconds: dict[str, list[float]]) -> None:
    """Time each part alone, one after the other, on a key frame and on the non-key frames that follow it.

    Args:
        model: With a temporal module, in eval mode.
        clip: Collated test batches of one frame each.
        seconds: Receives the times, by the fields of :class:`PartTimes`.
    """
    device, temporal, spatial = next(model.parameters()).device, model.temporal, model.spatial

    def run(name: str, function: Callable, *arguments: Any) -> Any:
        with timed(device) as lap:
            result = function(*arguments)
        seconds[name].append(lap.seconds)
        return result

    def flow_and_scale(inputs: Tensor) -> tuple:
        return temporal.fields(key.image, temporal.prepare(inputs))

    key = None
    for data in clip:
        data = model.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data['data_samples']
        with model.running():
            features = run('feature_network', spatial.features, inputs)
            run('task_key', spatial.predict, features, _fresh(samples))
            if key is None:
                key = KeyFrame(temporal.prepare(inputs), features)
            else:
                flow_field = run('flow_and_scale', flow_and_scale, inputs)
                features = run('warp', temporal.propagate, key.features, *flow_field)
                settings = model.non_key_test_cfg
                run('task_non_key', spatial.predict, features, _fresh(samples), settings)


def measure_parts(
    model: VideoDetector, frames: Sequence[np.ndarray], repeats: int = 5
) -> PartTimes:
    """Measure the times of a model's parts, without speed options.

    Args:
        model: With a temporal module; it is put into eval mode.
        frames: Two or more frames of a video, (H, W, 3) uint8, of the network's input size.
        repeats: Number of counted pairs of frames, after one pair of warm-up.

    Raises:
        ValueError: If there is no temporal module, fewer than two frames, or ``repeats`` is less than 1.
    """
    if not model.has_temporal:
        raise ValueError('the model has no temporal module: give a stage-two config')
    if repeats < 1 or len(frames) < 2:
        raise ValueError(f'needs repeats >= 1 and two frames, got {repeats=}, {len(frames)} frames')
    model.eval()
    batches = map(batch_of, cycle(frames))
    time_parts(model, islice(batches, 2), defaultdict(list))
    seconds = defaultdict(list)
    for _ in range(repeats):
        time_parts(model, islice(batches, 2), seconds)
    return PartTimes.medians(seconds)


def batch_of(frame: np.ndarray) -> dict:
    """Make a collated test batch of a frame (H, W, 3) uint8 of the network's input size."""
    image = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))
    return dict(inputs=[image], data_samples=plain_samples(1, frame.shape[:2]))


def _fresh(samples: SampleList) -> SampleList:
    """Copies of the data samples, since predictions are written into them."""
    return [sample.clone() for sample in samples]
