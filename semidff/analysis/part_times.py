"""Times of a video detector's parts, and what DFF's Eqs. 5 and 7 make of them."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor

from semidff.inference.acceleration import AcceleratedDetector, Acceleration, accelerate
from semidff.inference.timer import timed
from semidff.models.video_detector import KeyFrame, VideoDetector

PARTS = {
    'feature_network': 'N_feat   feature network',
    'flow_and_scale': 'F + S    flow network with its half-size input, scale field',
    'warp': 'W        warp and product',
    'task_non_key': 'N_task   task network and post-processing, propagated features',
    'task_key': "N_task   the same, on the frame's own features",
}


def speedup_of(ratio: float, key_interval: int) -> float:
    """Speed-up s of DFF Eq. 7 for a ratio r of costs (Eq. 5) and a key-frame duration l."""
    return key_interval / (1 + (key_interval - 1) * ratio)


class PartTimes(NamedTuple):
    """Medians in milliseconds.

    Attributes:
        feature_network: N_feat.
        flow_and_scale: F + S, half-sizing of the current frame included.
        warp: W.
        task_non_key: N_task with post-processing on propagated features.
        task_key: N_task with post-processing on a frame's own features.
    """

    feature_network: float
    flow_and_scale: float
    warp: float
    task_non_key: float
    task_key: float

    @property
    def key(self) -> float:
        """A frame by the spatial module."""
        return self.feature_network + self.task_key

    @property
    def non_key(self) -> float:
        """A propagated frame."""
        return self.flow_and_scale + self.warp + self.task_non_key

    @property
    def ratio(self) -> float:
        """r of DFF Eq. 5."""
        return self.non_key / self.key

    def bound(self, key_interval: int, around: float = 0.0) -> float:
        """Largest speed-up over frame-by-frame detection.

        Args:
            key_interval (int): Key-frame duration l.
            around (float): Milliseconds that *every* frame takes beside the network (decoding, say). 0: the bound of
                Eq. 7, that of the network. Else the same reasoning with the time around the network on both sides:
                ``l (a + key) / (l a + key + (l - 1) current)``.
        """
        return speedup_of((around + self.non_key) / (around + self.key), key_interval)


class PartClock:
    """Times the parts alone, one after the other, on the frames of clips.

    Args:
        model (AcceleratedDetector): With a temporal module, in eval mode.
    """

    def __init__(self, model: AcceleratedDetector) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.begin()

    def begin(self) -> None:
        """The next frame begins a clip: it is the key frame of those that follow."""
        self._key: KeyFrame | None = None

    @torch.no_grad()
    def frame(self, data: dict) -> None:
        """Times the parts on the next frame.

        Args:
            data (dict): Collated test batch of it.
        """
        model = self.model
        data = model.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data['data_samples']
        with model.running():
            features = self._timed('feature_network', model.spatial.features, inputs)
            self._timed('task_key', model.spatial.predict, features, _fresh(samples))
            if self._key is None:
                self._key = KeyFrame(model.temporal.prepare(inputs), features)
            else:
                self._non_key(inputs, samples, self._key)

    def _non_key(self, inputs: Tensor, samples: SampleList, key: KeyFrame) -> None:
        model = self.model
        flow_field = self._timed(
            'flow_and_scale',
            lambda: model.temporal.flow_and_scale(key.image, model.temporal.prepare(inputs)),
        )
        features = self._timed('warp', model.temporal.propagate, key.features, *flow_field)
        self._timed('task_non_key', model.spatial.predict, features, _fresh(samples))

    def medians(self) -> PartTimes:
        """Of all frames since the clock was made, or since ``seconds`` was emptied."""
        return PartTimes(**{name: 1000 * float(np.median(self.seconds[name])) for name in PARTS})

    def _timed(self, name: str, function: Callable, *arguments: Any) -> Any:
        with timed(self.device) as lap:
            result = function(*arguments)
        self.seconds[name].append(lap.seconds)
        return result


def measure_parts(
    model: VideoDetector, frames: Sequence[np.ndarray], repeats: int = 5
) -> PartTimes:
    """Times of a model's parts, without speed options.

    Args:
        model (VideoDetector): With a temporal module; it is put into eval mode.
        frames (Sequence[ndarray]): Two frames of a video or more, (H, W, 3) uint8, of the network's size.
        repeats (int): Pairs of frames that count; one more is timed first, to warm up.

    Raises:
        ValueError: If there is no temporal module, or nothing to measure.
    """
    if not model.has_temporal:
        raise ValueError('the model has no temporal module: give a stage-two config')
    if repeats < 1 or len(frames) < 2:
        raise ValueError(f'needs repeats >= 1 and two frames, got {repeats=}, {len(frames)} frames')
    clock = PartClock(accelerate(model.eval(), Acceleration()))
    for repeat in range(repeats + 1):
        clock.begin()
        for index in range(2 * repeat, 2 * repeat + 2):
            clock.frame(batch_of(frames[index % len(frames)]))
        if repeat == 0:
            clock.seconds.clear()
    return clock.medians()


def batch_of(frame: np.ndarray) -> dict:
    """Collated test batch of a frame (H, W, 3) uint8 that has the network's size already."""
    size = frame.shape[:2]
    meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
    image = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))
    return dict(inputs=[image], data_samples=[DetDataSample(metainfo=meta)])


def _fresh(samples: SampleList) -> SampleList:
    """Data samples without results."""
    return [sample.clone() for sample in samples]
