"""Fit of the filter's constants to a detector and its videos, without labels."""

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from semidff.evaluation import Detections
from semidff.evaluation.metrics import MIN_SCORE, agreement
from semidff.filter import FilterConstants, Tracked, VideoFilter, picture_of
from semidff.inference import VideoEngine
from semidff.inference.executors import Executor
from semidff.inference.loading import frame_pipeline
from semidff.inference.methods.boxes import arrays_of

from .evaluation_clips import EvaluationClip

CONSTANTS = [FilterConstants(*pair) for pair in product((6.0, 2.0, 18.0), (0.85, 0.7, 0.95))]
"""What is compared; the first are the defaults."""

_MOST_FRAMES = 300


@torch.no_grad()
def fit_filter(
    executor: Executor, clips: Sequence[EvaluationClip], key_interval: int = 10
) -> FilterConstants:
    """Return the constants with which tracked boxes agree best with the filtered detector.

    The reference is what the detector finds on every frame, filtered both ways with the default constants. It is
    compared with method *track* at one key-frame interval, whose results depend on the constants most.
    """
    engine, videos = VideoEngine(executor, 'frame'), []
    pipeline = frame_pipeline(executor.model.cfg)
    for clip in clips:
        if sum(map(len, videos)) >= _MOST_FRAMES:
            break
        images = list(clip.images())
        batches = (pseudo_collate([pipeline(dict(img=image))]) for image in images)
        frames = zip(images, engine.run(batches), strict=True)
        videos.append(
            [(picture_of(i), i.shape[:2], arrays_of(r.pred_instances)) for i, r in frames]
        )

    def run(constants: FilterConstants, interval: int, both_ways: bool) -> list[Tracked]:
        found = []
        for frames in videos:
            tracks = VideoFilter(engine.num_classes, both_ways, constants=constants)
            for number, (picture, size, own) in enumerate(frames):
                found += tracks.push(picture, size, own if number % interval == 0 else None)
            found += tracks.flush()
        return found

    reference = _detections(run(CONSTANTS[0], 1, True))
    if not (reference.scores >= MIN_SCORE).any():
        return CONSTANTS[0]
    count = sum(map(len, videos))
    values = [
        agreement(reference, _detections(run(constants, key_interval, False)), count)['AP']
        for constants in CONSTANTS
    ]
    return CONSTANTS[int(np.argmax(values))]


def _detections(results: Iterable[Tracked]) -> Detections:
    results = list(results)
    frames = np.repeat(np.arange(len(results)), [len(one.scores) for one in results])
    columns = ([getattr(one, name) for one in results] for name in ('labels', 'scores', 'boxes'))
    return Detections(frames, *map(np.concatenate, columns))
