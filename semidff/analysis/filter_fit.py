"""Fit of the filter's constants to a detector and its videos, without labels."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from semidff.evaluation import Detections
from semidff.evaluation.metrics import MIN_SCORE, agreement
from semidff.filter import FilterConstants, VideoFilter, picture_of
from semidff.utils.threads import default_workers
from semidff.utils.worker_pool import pool_map

from .evaluation_clips import EvaluationClip

CONSTANTS = [FilterConstants(*pair) for pair in product((6.0, 2.0, 18.0), (0.85, 0.7, 0.95))]
"""What is compared; the first are the defaults."""


def fit_filter(
    clips: Sequence[EvaluationClip],
    found: Sequence[tuple[np.ndarray, ...]],
    key_interval: int = 10,
) -> FilterConstants:
    """Return the constants with which tracked boxes agree best with the filtered detector.

    The reference is what the detector finds on every frame, filtered both ways with the default constants. It is
    compared with method *track* at one key-frame interval, whose results depend on the constants most.

    Args:
        found: What the detector finds in each clip, see :class:`~semidff.analysis.runs.Run`.
    """
    classes = 1 + max(int(labels.max(initial=0)) for _, labels, *_ in found)
    videos = []
    for clip, (counts, labels, scores, boxes) in zip(clips, found, strict=True):
        ends = np.cumsum(counts)[:-1]
        own = zip(*(np.split(one, ends) for one in (boxes, scores, labels)), strict=True)
        pictures = ((picture_of(image), image.shape[:2]) for image in clip.images())
        videos.append([(*picture, each) for picture, each in zip(pictures, own, strict=True)])

    def run(constants: FilterConstants, interval: int, both_ways: bool = False) -> Detections:
        results = []
        for frames in videos:
            tracks = VideoFilter(classes, both_ways, constants=constants)
            for number, (picture, size, own) in enumerate(frames):
                results += tracks.push(picture, size, None if number % interval else own)
            results += tracks.flush()
        frames = np.repeat(np.arange(len(results)), [len(one.scores) for one in results])
        columns = ([getattr(one, key) for one in results] for key in ('labels', 'scores', 'boxes'))
        return Detections(frames, *map(np.concatenate, columns))

    reference, count = run(CONSTANTS[0], 1, True), sum(map(len, videos))
    if not (reference.scores >= MIN_SCORE).any():
        return CONSTANTS[0]
    value = lambda one: agreement(reference, run(one, key_interval), count)['AP']  # noqa: E731
    return CONSTANTS[int(np.argmax([*pool_map(value, CONSTANTS, default_workers())]))]
