"""Speed of a video detector and of its parts, against the bound of DFF Eq. 7.

Protocol: batch 1; forward pass and post-processing; decoding, resizing, normalising and sending to
the device are not included. For every frame of a clip of l frames three things are timed one after
the other: the frame in its place in the schedule (key frame, or propagated from the clip's first
frame), the same frame by the spatial module alone, and each part alone. So noise of the machine
hits all of them alike, and the speed-up of a clip compares frames that were timed together. Times
are medians over all clips but the first.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from torch import Tensor

from semidff.datasets.video_readers import open_video
from semidff.models.video_detector import VideoDetector

PARTS = {
    'feature_network': 'N_feat   feature network',
    'flow_and_scale': 'F + S    flow network with its half-size input, scale field',
    'warp': 'W        warp and product',
    'task_current': 'N_task   task network and post-processing, propagated features',
    'task_key': "N_task   the same, on the frame's own features",
}


def speedup_of(ratio: float, key_interval: int) -> float:
    """Speed-up s of DFF Eq. 7 for a ratio r of costs (Eq. 5) and a key-frame duration l."""
    return key_interval / (1 + (key_interval - 1) * ratio)


class SpeedReport(NamedTuple):
    """What :func:`measure_speed` measured; times in milliseconds.

    Attributes:
        key_interval: Key-frame duration l.
        parts: Times of the parts, by the names of :data:`PARTS`.
        frame: A frame by the spatial module alone.
        key: A key frame of the schedule.
        current: A frame between.
        clip_speedups: For each clip, frame by frame over schedule.
        detections: Mean number of detections per frame of the schedule.
    """

    key_interval: int
    parts: dict[str, float]
    frame: float
    key: float
    current: float
    clip_speedups: list[float]
    detections: float

    @property
    def ratio(self) -> float:
        """r of DFF Eq. 5, from the part times."""
        parts = self.parts
        cheap = parts['flow_and_scale'] + parts['warp'] + parts['task_current']
        return cheap / (parts['feature_network'] + parts['task_key'])

    @property
    def bound(self) -> float:
        """Speed-up of DFF Eq. 7 for that r."""
        return speedup_of(self.ratio, self.key_interval)

    @property
    def mean(self) -> float:
        """Mean time per frame of the schedule."""
        return (self.key + (self.key_interval - 1) * self.current) / self.key_interval

    @property
    def speedup(self) -> float:
        """Measured speed-up over frame-by-frame detection: the median of the clips'."""
        return float(np.median(self.clip_speedups))

    def to_dict(self) -> dict[str, Any]:
        """All figures, for json; ``of_bound`` is the speed-up as a share of the bound."""
        names = ('ratio', 'bound', 'mean', 'speedup')
        figures = {name: getattr(self, name) for name in names}
        return {**self._asdict(), **figures, 'of_bound': self.speedup / self.bound}

    def __str__(self) -> str:
        length, speedups = self.key_interval, self.clip_speedups
        lines = ['part times, ms']
        lines += [f'  {text:66}{self.parts[name]:9.1f}' for name, text in PARTS.items()]
        lines += ['whole frames, ms']
        for text, value in (
            ('frame by frame', self.frame),
            ('key frame', self.key),
            ('frame between', self.current),
            (f'mean at l = {length}', self.mean),
        ):
            lines.append(f'  {text:66}{value:9.1f}   {1000 / value:7.2f} fps')
        lines += [
            f'r (DFF Eq. 5)           {self.ratio:.4f}   1 / r = {1 / self.ratio:.2f}',
            f'bound (DFF Eq. 7)       {self.bound:.3f}x at l = {length}',
            f'measured speed-up       {self.speedup:.3f}x   ({len(speedups)} clips: '
            f'{min(speedups):.3f} .. {max(speedups):.3f})',
            f'share of the bound      {100 * self.speedup / self.bound:.1f} %',
            f'detections per frame    {self.detections:.0f}',
        ]
        return '\n'.join(lines)


@torch.no_grad()
def measure_speed(
    model: VideoDetector,
    frames: Sequence[np.ndarray],
    key_interval: int = 10,
    repeats: int = 5,
    amp: bool = False,
    progress: Callable[[str], None] | None = None,
) -> SpeedReport:
    """Times a video detector, see the module's text.

    Args:
        model (VideoDetector): With a temporal module; it is put into eval mode.
        frames (Sequence[ndarray]): At least two frames of a video, (H, W, 3) uint8, all of one
            size, which is the network's; clips are cut from them in turn.
        key_interval (int): Key-frame duration l, at least 2.
        repeats (int): Clips that count; one more is timed first, to warm up.
        amp (bool): Run under autocast (float16 on GPUs, bfloat16 on CPUs).
        progress (Callable, optional): Is told what goes on.

    Returns:
        SpeedReport: The times.

    Raises:
        ValueError: No temporal module, or settings that cannot be measured.
    """
    if not model.has_temporal:
        raise ValueError('the model has no temporal module: give a stage-two config')
    if key_interval < 2 or repeats < 1 or len(frames) < 2:
        raise ValueError(
            'needs key_interval >= 2, repeats >= 1 and two frames, got '
            f'key_interval={key_interval}, repeats={repeats}, {len(frames)} frames'
        )
    bench = _Bench(model.eval(), amp)
    speedups, detections = [], []
    for clip in range(repeats + 1):
        start = time.perf_counter()
        chosen = [frames[(clip * key_interval + i) % len(frames)] for i in range(key_interval)]
        speedup, found = bench.clip(chosen)
        if progress is not None:
            name = f'clip {clip} of {repeats}' if clip else 'warm-up'
            progress(f'{name}: {speedup:.3f}x, took {time.perf_counter() - start:.1f} s')
        if clip == 0:
            bench.seconds.clear()
            continue
        speedups.append(speedup)
        detections.append(found / key_interval)
    times = {name: 1000 * float(np.median(values)) for name, values in bench.seconds.items()}
    parts = {name: times.pop(name) for name in PARTS}
    return SpeedReport(
        key_interval, parts, **times, clip_speedups=speedups, detections=float(np.mean(detections))
    )


class _Bench:
    """Times the pieces of one model."""

    def __init__(self, model: VideoDetector, amp: bool) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        half = torch.bfloat16 if self.device.type == 'cpu' else torch.float16
        self.autocast = dict(device_type=self.device.type, dtype=half, enabled=amp)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def clip(self, frames: Sequence[np.ndarray]) -> tuple[float, int]:
        """Walks a clip; returns its speed-up over frame-by-frame, and how much was detected."""
        scheduled = alone = 0.0
        detections, key = 0, None
        for index, frame in enumerate(frames):
            inputs, samples = network_inputs(self.model, frame)
            if index == 0:
                results, key = self._timed('key', self.model.predict_key, inputs, samples())
                key_features = key.features
            else:
                predict = self.model.predict_current
                results = self._timed('current', predict, inputs, samples(), key)
            scheduled += self.seconds['key' if index == 0 else 'current'][-1]
            detections += len(results[0].pred_instances)
            self._timed('frame', self._frame, inputs, samples())
            alone += self.seconds['frame'][-1]
            self._parts(inputs, samples, key.image, key_features)
        return alone / scheduled, detections

    def _frame(self, inputs: Tensor, samples: list) -> list:
        """Frame-by-frame detection, as without a temporal module."""
        return self.model.spatial.predict(self.model.spatial.features(inputs), samples)

    def _parts(
        self, inputs: Tensor, samples: Callable, key: Tensor, key_features: Sequence[Tensor]
    ) -> None:
        model = self.model
        features = self._timed('feature_network', model.spatial.features, inputs)
        self._timed('task_key', model.spatial.predict, features, samples())

        def flow_and_scale() -> tuple:
            return model.temporal.flow_and_scale(key, model.temporal.prepare(inputs))

        flow, scale = self._timed('flow_and_scale', flow_and_scale)
        warped = self._timed('warp', model.temporal.propagate, key_features, flow, scale)
        self._timed('task_current', model.spatial.predict, warped, samples())

    def _timed(self, name: str, function: Callable, *arguments: Any) -> Any:
        self._wait()
        start = time.perf_counter()
        with torch.autocast(**self.autocast):
            result = function(*arguments)
        self._wait()
        self.seconds[name].append(time.perf_counter() - start)
        return result

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def network_inputs(
    model: VideoDetector, frame: np.ndarray
) -> tuple[Tensor, Callable[[], list[DetDataSample]]]:
    """What a model gets of a frame.

    Args:
        model (VideoDetector): The model.
        frame (ndarray): (H, W, 3) uint8.

    Returns:
        The normalised frame (1, 3, H, W) on the device, and a source of fresh data samples for it.
    """
    size = frame.shape[:2]
    meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
    image = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))
    batch = dict(inputs=[image], data_samples=[DetDataSample(metainfo=meta)])
    batch = model.data_preprocessor(batch, False)
    return batch['inputs'], lambda: [batch['data_samples'][0].clone()]


def video_frames(path: str, count: int, height: int, width: int) -> list[np.ndarray]:
    """The first frames of a video file or folder of frames, brought to one size.

    Args:
        path (str): The video.
        count (int): How many frames, at most.
        height (int): Height of the frames in pixels.
        width (int): Width of the frames in pixels; the aspect ratio is not kept.

    Raises:
        VideoError: The video cannot be read.
    """
    reader = open_video(path)
    try:
        frames = reader.frames(range(min(count, len(reader))))
    finally:
        reader.close()
    return [cv2.resize(frame, (width, height)) for frame in frames]


def smooth_frames(count: int, height: int, width: int, seed: int = 0) -> list[np.ndarray]:
    """Frames of a camera that pans over a smooth, textured picture, 4 pixels right and 1 down each.

    Args:
        count (int): How many frames.
        height (int): Height of the frames in pixels.
        width (int): Width of the frames in pixels.
        seed (int): Seed of the picture.
    """
    rng = np.random.default_rng(seed)
    size = width + 4 * count, height + count
    canvas = np.full((size[1], size[0], 3), 128, np.float32)
    for cell, contrast in ((160, 50), (40, 25), (10, 12)):
        coarse = rng.normal(0, contrast, (size[1] // cell + 2, size[0] // cell + 2, 3))
        canvas += cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    canvas = np.clip(canvas, 0, 255).astype(np.uint8)
    return [canvas[i : i + height, 4 * i : 4 * i + width].copy() for i in range(count)]
