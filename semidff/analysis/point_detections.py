"""Detections of operating points in all clips, kept in files so that an interrupted run continues."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.dataset import pseudo_collate

from semidff.evaluation import Detections
from semidff.inference import AdaptiveSchedule, ErrorPredictor, FixedSchedule, VideoEngine
from semidff.inference.loading import frame_pipeline
from semidff.inference.schedules import KeyFrameSchedule
from semidff.models.video_detector import VideoDetector
from semidff.utils.atomic_write import atomic_path

from .detection_memory import DetectionMemory
from .evaluation_clips import EvaluationClip

ADAPTIVE = 'adaptive'
"""Method *propagate* with an adaptive schedule."""

ARRAYS = ('counts', 'labels', 'scores', 'boxes', 'keys')


class OperatingPoint(NamedTuple):
    """How a video detector is run.

    Attributes:
        method: A method of :class:`~semidff.inference.VideoEngine`, or *adaptive*.
        key_interval: Key-frame interval l; with *adaptive*, the requested average; with *frame*, 1.
        scale: Input size relative to that of the config, for height and width.
        smooth: ``smooth_scores`` of the engine.
    """

    method: str
    key_interval: int = 1
    scale: float = 1.0
    smooth: int = 0

    @property
    def run_as(self) -> str:
        """The engine's method."""
        return 'propagate' if self.method == ADAPTIVE else self.method


class PointRun(NamedTuple):
    """Detections of an operating point.

    Attributes:
        detections: In the frames of all clips, for each position of the key frames.
        interval: Average key-frame interval.
    """

    detections: list[Detections]
    interval: float


class PointDetections:
    """Runs operating points over clips.

    Args:
        model: In eval mode, with ``cfg``.
        clips: Clips; each begins with a key frame.
        predictor: Of *adaptive*.
        places: Positions of the key frames: the first interval of a clip is l, l - l / places, ...
        folder: Where detections are kept; None keeps none.
    """

    def __init__(
        self,
        model: VideoDetector,
        clips: Sequence[EvaluationClip],
        predictor: ErrorPredictor | None = None,
        places: int = 1,
        folder: str | Path | None = None,
    ) -> None:
        self.memory, self.clips, self.predictor = DetectionMemory(model), clips, predictor
        self.places, self.folder = places, None if folder is None else Path(folder)
        self._found: dict[str, list[dict[str, np.ndarray]]] = {}
        self._identity = None if folder is None else _identity(model, predictor)

    @property
    def num_frames(self) -> int:
        """Number of frames of all clips, known after :meth:`detect`."""
        return sum(len(arrays['counts']) for arrays in next(iter(self._found.values())))

    @property
    def longest(self) -> int:
        """Frames of the longest clip, known after :meth:`detect`."""
        return max(len(arrays['counts']) for arrays in next(iter(self._found.values())))

    def detect(self, points: Sequence[OperatingPoint], progress: Callable[[str], None]) -> None:
        """Detect with all points in all clips."""
        scales = dict.fromkeys(point.scale for point in points)
        runs = {scale: dict(self._runs(p for p in points if p.scale == scale)) for scale in scales}
        for number, clip in enumerate(self.clips, start=1):
            for scale in scales:
                arrays = self._clip(clip, scale, runs[scale])
                for name in runs[scale]:
                    self._found.setdefault(name, []).append(arrays[name])
                progress(f'clip {number} of {len(self.clips)}, input size × {scale:g}')

    def of(self, point: OperatingPoint) -> PointRun:
        """Return the detections of a point."""
        several, keys, frames = [], 0, 0
        for name, _ in self._runs([point]):
            clips = self._found[name]
            joined = {key: np.concatenate([arrays[key] for arrays in clips]) for key in ARRAYS}
            number = np.repeat(np.arange(len(joined['counts'])), joined['counts'])
            several.append(Detections(number, joined['labels'], joined['scores'], joined['boxes']))
            for clip, arrays in zip(self.clips, clips, strict=True):
                # The last frame of an excerpt is not counted if it begins an interval.
                at = arrays['keys']
                at = at[:-1] if clip.stop and at[-1] and len(at) > 1 else at
                keys, frames = keys + at.sum(), frames + len(at)
        return PointRun(several, float(frames / keys))

    def _runs(
        self, points: Sequence[OperatingPoint]
    ) -> Iterator[tuple[str, tuple[OperatingPoint, KeyFrameSchedule]]]:
        """Yield a name, the point and the schedule of each run over a clip."""
        for point in points:
            interval = point.key_interval
            if point.method == ADAPTIVE:
                schedules = {0: AdaptiveSchedule(self.predictor, interval=interval)}
            else:
                firsts = {interval - interval * n // self.places for n in range(self.places)}
                schedules = {first: FixedSchedule(interval, first) for first in sorted(firsts)}
            for first, schedule in schedules.items():
                name = f'{point.method} {interval} {first} {point.scale:g} {point.smooth}'
                yield name, (point, schedule)

    def _clip(self, clip: EvaluationClip, scale: float, runs: dict) -> dict[str, dict]:
        """Return the arrays of all runs in a clip, read from the folder or computed."""
        file, kept = None, {}
        if self.folder is not None:
            digest = sha256(f'{self._identity} {clip.identity()} {scale}'.encode()).hexdigest()
            file = self.folder / f'{digest[:20]}.npz'
            if file.is_file():
                with np.load(file) as stored:
                    for key in stored.files:
                        name, _, array = key.rpartition('|')
                        kept.setdefault(name, {})[array] = stored[key]
        if missing := {name: run for name, run in runs.items() if name not in kept}:
            pipeline = frame_pipeline(self.memory.cfg, scale=scale)
            items = [pipeline(dict(img=image)) for image in clip.images()]
            self.memory.forget()
            kept |= {name: self._run(items, *run) for name, run in missing.items()}
            self.memory.forget()
            if file is not None:
                flat = {f'{name}|{key}': a for name, one in kept.items() for key, a in one.items()}
                with atomic_path(file) as unfinished:
                    np.savez_compressed(unfinished, **flat)
        return kept

    def _run(self, items: list[dict], point: OperatingPoint, schedule: KeyFrameSchedule) -> dict:
        """Run one point over the packed frames of a clip."""
        engine = VideoEngine(
            self.memory, point.run_as, schedule=schedule, smooth_scores=point.smooth
        )
        if hasattr(engine.method, 'batch_size'):
            engine.method.batch_size = 1  # the memory answers for single frames
        results = []
        for index, item in enumerate(items):
            sample = item['data_samples'].new()
            sample.set_metainfo(dict(frame_id=index))
            results += engine.push(pseudo_collate([dict(item, data_samples=sample)]))
        results += engine.flush()
        found = [result.pred_instances.cpu() for result in results]
        return dict(
            counts=np.array([len(one) for one in found]),
            labels=np.concatenate([one.labels.numpy() for one in found]),
            scores=np.concatenate([one.scores.float().numpy() for one in found]),
            boxes=np.concatenate([one.bboxes.float().numpy() for one in found]),
            keys=np.array([result.is_key_frame for result in results]),
        )


def _identity(model: VideoDetector, predictor: ErrorPredictor | None) -> str:
    """Digest of everything that detections depend on, except frames and operating point."""
    settings = [model.cfg.get(key) for key in ('model', 'test_dataloader', 'detector_dataset')]
    digest = sha256(f'{settings} {predictor}'.encode())
    digest.update(f'{model.options} {next(model.parameters()).device.type}'.encode())
    # without a teacher, which is not loaded and has random weights
    for part in filter(None, (model.spatial, model.temporal)):
        for name, value in part.state_dict().items():
            digest.update(name.encode() + value.cpu().float().numpy().tobytes())
    return digest.hexdigest()
