"""The recursive filter: tracks that move with the video and are corrected by detections."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .links import (
    Detections,
    Objects,
    areas,
    assign,
    classes_of,
    distances,
    inside,
    link,
    objects_of,
    others_than,
    overlaps,
)
from .motion import Motion, camera_motion, camera_steps, move_boxes

MIN_SCORE = 0.05
"""Detections with a lower score belong to no track; they are repeated until the next detections."""

LIGHT_WEIGHTS = 0.12, 0.12
"""Weights of the boxes and scores of light frames to begin with."""

_SETTLED = 0.5  # in units of IoU: links prefer tracks whose detections ...
_SETTLED_SCORE = 3.0  # ... have this sum of scores
_DUPLICATE = 0.5  # IoU with a track, above which a detection of its class begins no other one
_ENDS = 0.02  # score at which a track ends
_REMEMBERED = 60  # frames without detections, after which an object that returns is another one
_SMALLEST = 0.01  # score of a second class that is reported
_FOLLOWED = 0.1  # score of a track whose points are followed; others move with the camera
_FADE = 0.85  # of the evidence that an object exists, at each frame
_NOISE = 4e-4, 1e-2  # squares, of boxes and of scores of key frames to begin with
_RENEWAL = 0.2  # of the velocity, at each step
_DRIFT = 6.0  # noise of a step: that of a detection of score 1 for an error of a sixth of the size
# Errors of a box after a step: pixels of the picture, even if all points agree, and at most; a
# share of the step; a multiple of the growth.
_JITTER, _LARGEST_SPREAD, _OF_STEP, _OF_GROWTH = 0.5, 10.0, 0.05, 2.0
_RECENT = 0.3  # of the means of a track's residuals, at each detection
_LARGEST_RESIDUAL = 0.3  # that counts where the filter judges itself or light frames
_FORGET = 0.98  # of what a video has taught, at each frame with detections
_PRIOR = 10.0  # detections, as which these count
# Where another prediction is so many times better, the filter's boxes are not reported.
_TRUSTED = 2.0
_LEAST_JUDGED = 20  # predictions


class Estimate(NamedTuple):
    """What is known of the objects of a frame.

    Attributes:
        boxes: (n, 4), xyxy.
        scores: (n, 2, C): of each class, the mean score of detections of which it is the best
            class, and of those of which it is another one.
        weights, evidence: (n,), how much is known of the boxes, and of the scores.
        ids: (n,) identities.
        sources: (n, 2): frame and index of the last detection.
        source_boxes: (n, 4), its boxes.
        weak: Detections with low scores, and their sources.
        began: Whether there were detections at all.
        camera: Motion of the camera since the frame before, see
            :func:`~semidff.filter.motion.camera_motion`; None if it was not needed.
    """

    boxes: np.ndarray
    scores: np.ndarray
    weights: np.ndarray
    evidence: np.ndarray
    ids: np.ndarray
    sources: np.ndarray
    source_boxes: np.ndarray
    weak: tuple[Detections, np.ndarray]
    began: bool
    camera: np.ndarray | None = None


class Tracked(NamedTuple):
    """Objects of a frame by descending score: detections, identities, and as in :class:`Estimate`.

    An identity occurs once in a frame: weak detections and further boxes of an object have -1.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    sources: np.ndarray
    source_boxes: np.ndarray


class Reliability:
    """How much light frames are worth, learned from residuals.

    A detection differs from the prediction by the errors of both. That of the prediction is known
    relative to the noise of key frames, which tells this noise, and with it that of light frames. A
    source is worth the inverse of its noise.

    Args:
        light_weights: The weights to begin with.

    Attributes:
        geometry, existence: Weights of boxes and of scores of light frames, relative to those of
            key frames.
    """

    def __init__(self, light_weights: tuple[float, float] = LIGHT_WEIGHTS) -> None:
        self.light_weights = self.geometry, self.existence = light_weights
        # Sums of squares and numbers: of boxes and of scores; of key and of light frames.
        self._squares, self._counts = np.zeros((2, 2)), np.zeros((2, 2))

    def learn(self, light: bool, boxes: np.ndarray, known: np.ndarray, scores: np.ndarray) -> None:
        """Take a frame with detections.

        Args:
            boxes: Squared residuals (n,) of linked detections, in sizes of the boxes.
            known: Squared errors (n,) of their predictions, relative to the noise of a detection of
                a key frame.
            scores: Squared residuals (m,) of the scores of all tracks that were looked at.
        """
        noise = self._noise(0)
        boxes = np.maximum(boxes - known * noise[0], 0) if light else boxes / (1 + known)
        for kind, squares in enumerate((boxes, scores)):
            self._squares[kind, int(light)] *= _FORGET
            self._squares[kind, int(light)] += squares.sum()
            self._counts[kind, int(light)] *= _FORGET
            self._counts[kind, int(light)] += len(squares)
        weights = self._noise(0) / self._noise(1)
        self.geometry, self.existence = np.minimum(weights, 1).tolist()

    def _noise(self, light: int) -> np.ndarray:
        """Return the noise of boxes and of scores."""
        first = self._noise(0) / np.array(self.light_weights) if light else np.array(_NOISE)
        squares, counts = self._squares[:, light], self._counts[:, light]
        return (squares + _PRIOR * first) / (counts + _PRIOR)


@dataclass
class _Tracks:
    """Arrays of n tracks; as in :class:`Estimate`, and what it does not tell.

    ``carried`` is the last detection, moved without averaging; ``residuals`` and ``squares`` are
    recent means; ``settled`` is the sum of the scores of all detections; ``missed`` counts key
    frames without a detection.
    """

    ids: np.ndarray
    boxes: np.ndarray
    weights: np.ndarray
    scores: np.ndarray
    evidence: np.ndarray
    velocities: np.ndarray
    residuals: np.ndarray
    squares: np.ndarray
    settled: np.ndarray
    missed: np.ndarray
    carried: np.ndarray
    sources: np.ndarray
    source_boxes: np.ndarray

    @classmethod
    def new(cls, count: int, classes: int) -> '_Tracks':
        shapes = (
            (), (4,), (), (2, classes), (), (2,), (4,), (), (), (), (4,), (2,), (4,)
        )  # fmt: skip
        tracks = cls(*(np.zeros((count, *shape)) for shape in shapes))
        tracks.ids, tracks.sources = tracks.ids.astype(int), tracks.sources.astype(int)
        return tracks

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, chosen: np.ndarray) -> '_Tracks':
        return _Tracks(*(values[chosen] for values in vars(self).values()))

    def __add__(self, other: '_Tracks') -> '_Tracks':
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Tracks(*map(np.concatenate, pairs))

    @property
    def total(self) -> np.ndarray:
        """Scores (n,), of all classes together."""
        return self.scores[:, 0].sum(-1)

    def move(self, motion: Motion) -> None:
        """Move all boxes; the sides grow about the center."""
        growth = np.exp(np.clip(motion.growth, -0.2, 0.2))[:, None]
        for name in ('boxes', 'carried'):
            boxes = getattr(self, name)
            center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
            center, half = center + motion.steps, half * growth
            setattr(self, name, np.concatenate([center - half, center + half], 1))


class TrackFilter:
    """Follows the objects of one video, causally.

    On every frame, boxes are moved and scaled by sparse optical flow
    (:mod:`semidff.filter.motion`), and what is known of them fades. On frames with detections, a
    track's box becomes the weighted mean of itself and of its detection; its score is a weighted
    mean of all scores, with 0 where it was not detected. So an object is not lost if the detector
    misses it once, and a false one fades. The equations are in docs/filter.md.

    Args:
        num_classes: Number of classes C.
        reliability: What is known of light frames, from an earlier filter of the same video.
        learn: Whether to learn the reliability.
        first_id: The first identity.

    Example:
        >>> tracks = TrackFilter(num_classes=80)
        >>> for number, image in enumerate(video):
        ...     found = detect(image) if number % 10 == 0 else None  # boxes, scores, labels
        ...     estimate = tracks.step(picture_of(image), image.shape[:2], found)
        ...     boxes, scores, labels, ids, *_ = report(estimate)
    """

    def __init__(
        self,
        num_classes: int,
        reliability: Reliability | None = None,
        learn: bool = True,
        first_id: int = 0,
    ) -> None:
        self.num_classes = num_classes
        self.reliability = reliability or Reliability()
        self.learn = learn
        self._tracks = self._ended = _Tracks.new(0, num_classes)
        self._picture: np.ndarray | None = None
        none = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
        self._weak = none, np.zeros((0, 2), int)
        self._number, self._next_id, self._absence = -1, first_id, 0.0
        self._began = False  # there were detections
        # Of predictions of key frames' detections: sums of errors, and their number.
        self._errors, self._judged = np.zeros(3), 0.0

    def step(
        self,
        picture: np.ndarray,
        size: tuple[int, int],
        detections: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        light: bool = False,
        number: int | None = None,
        camera: np.ndarray | None = None,
        windows: np.ndarray | None = None,
    ) -> Estimate:
        """Take the next frame.

        Args:
            picture: Its gray picture, see :func:`~semidff.filter.motion.picture_of`.
            size: Its height and width, in whose pixels boxes are.
            detections: Boxes (n, 4) xyxy, scores and labels (n,); None if nothing was detected on
                this frame.
            light: Whether they are of a light frame, so that key frames tell how reliable they are.
            number: What ``sources`` calls this frame; default: one more than the frame before.
            camera: Motion of the camera since the frame before, if it is known.
            windows: (n, 4), xyxy, what the detector has seen of the frame, if not all; tracks that
                are in no window do not count as undetected.
        """
        self._number = self._number + 1 if number is None else number
        if self._picture is None or self._picture.shape != picture.shape:
            camera = None  # of the first frame, and where the size changes
        elif len(self._tracks) or len(self._ended):
            camera = self._move(picture, picture.shape[1] / size[1], camera)
        self._picture = picture
        self._absence *= _FADE
        if detections is not None:
            self.correct(detections, light, windows)
        tracks = self._tracks
        in_frame = (tracks.boxes[:, 2:] > 0).all(1) & (tracks.boxes[:, :2] < size[::-1]).all(1)
        chosen = in_frame & (tracks.total > _ENDS)
        if not chosen.all():
            self._ended = self._ended + tracks[in_frame & ~chosen]
            tracks = self._tracks = tracks[chosen]
        return Estimate(
            self._predictions(tracks)[self._best],
            tracks.scores,
            tracks.weights,
            tracks.evidence,
            tracks.ids,
            tracks.sources,
            tracks.source_boxes,
            self._weak,
            self._began,
            camera,
        )

    @property
    def trusted(self) -> bool:
        """Whether the filter predicts the detections well, so that its boxes are reported."""
        return self._best == 0

    @property
    def _best(self) -> int:
        best = int(self._errors.argmin())
        worse = self._errors[0] > _TRUSTED * self._errors[best]
        return best if self._judged >= _LEAST_JUDGED and worse else 0

    @staticmethod
    def _predictions(tracks: _Tracks) -> tuple[np.ndarray, ...]:
        """Return the filter's boxes, those of the last detections moved, and where these were."""
        return tracks.boxes, tracks.carried, tracks.source_boxes

    def new_id(self) -> int:
        """Return the next identity."""
        self._next_id += 1
        return self._next_id - 1

    def _move(self, picture: np.ndarray, scale: float, camera: np.ndarray | None) -> np.ndarray:
        """Move all tracks, at ``scale`` pixels of the picture per pixel; return the camera's
        motion.
        """
        tracks, boxes = self._tracks, self._tracks.boxes * scale
        if camera is None:
            strong = boxes[tracks.total >= _FOLLOWED]
            camera = camera_motion(self._picture, picture, strong)
        # An object that is not detected may be hidden: points would follow what hides it.
        followed = (tracks.total >= _FOLLOWED) & (tracks.missed == 0)
        shift, zoom = camera_steps(camera, (boxes[:, :2] + boxes[:, 2:]) / 2)
        velocities = tracks.velocities * (scale * zoom)
        motion = move_boxes(self._picture, picture, boxes, velocities, camera, followed)
        seen = np.isfinite(motion.spread)[:, None]
        renewal = np.where(tracks.velocities.any(1, keepdims=True), _RENEWAL, 1.0)
        own = (motion.steps - shift) / scale
        tracks.velocities = tracks.velocities + seen * renewal * (own - tracks.velocities)
        size = np.sqrt(np.maximum(areas(boxes), scale**2))
        error = np.minimum(motion.spread, _LARGEST_SPREAD) + _JITTER
        error += _OF_STEP * scale * np.linalg.norm(own, axis=1)
        error += _OF_GROWTH * np.abs(motion.growth) * size
        tracks.weights = tracks.weights / (1 + _DRIFT * error / size * tracks.weights)
        tracks.evidence = tracks.evidence * _FADE
        tracks.move(motion._replace(steps=motion.steps / scale))
        recent = np.abs(self._number - self._ended.sources[:, 0]) <= _REMEMBERED
        ended = self._ended = self._ended[recent]
        shift, zoom = camera_steps(camera, (ended.boxes[:, :2] + ended.boxes[:, 2:]) / 2 * scale)
        growth = np.full(len(ended), np.log(zoom))
        ended.move(Motion(shift / scale + ended.velocities * zoom, growth, growth))
        return camera

    def correct(
        self,
        detections: tuple[np.ndarray, np.ndarray, np.ndarray],
        light: bool = False,
        windows: np.ndarray | None = None,
    ) -> None:
        """Take detections of the last frame, see :meth:`step`."""
        detections = Detections.of(detections, self.num_classes)
        strong = detections.scores >= MIN_SCORE
        weak = [*(values[~strong] for values in detections), self._sources(np.flatnonzero(~strong))]
        if windows is not None:
            (known, sources), unseen = self._weak, ~inside(self._weak[0].boxes, windows)
            weak = [
                np.concatenate([new, old[unseen]])
                for new, old in zip(weak, (*known, sources), strict=True)
            ]
        self._weak = Detections(*weak[:3]), weak[3]
        self._began = True
        found = objects_of(detections, np.flatnonzero(strong), self.num_classes)
        tracks = self._tracks[np.arange(len(self._tracks))]  # a copy: estimates have its arrays
        settled = _SETTLED * np.minimum(tracks.settled / _SETTLED_SCORE, 1)
        rows, columns = link(tracks.boxes, tracks.scores, found.boxes, found.scores, settled)
        boxes, scores = found.boxes[columns], found.best[columns]
        size = np.sqrt(np.maximum(areas(boxes), 1e-9))
        residuals = (boxes - tracks.boxes[rows]) / size[:, None]
        squares = (residuals**2).mean(1)
        seen = np.zeros_like(tracks.scores)
        seen[rows] = found.scores[columns]
        known = tracks.weights[rows]
        looked = np.ones(len(tracks), bool) if windows is None else inside(tracks.boxes, windows)
        looked[rows] = True
        if self.learn:
            limited = np.minimum(squares, _LARGEST_RESIDUAL**2)
            differences = (seen - tracks.scores)[looked, 0].sum(-1)
            self.reliability.learn(light, limited, scores / known, differences**2)
        geometry, existence = self._worth(light)
        if not light:
            errors = [
                np.minimum(np.abs(of[rows] - boxes).mean(1) / size, _LARGEST_RESIDUAL).sum()
                for of in self._predictions(tracks)
            ]
            self._errors = _FORGET * self._errors + errors
            self._judged = _FORGET * self._judged + len(rows)
        recent = _RECENT * geometry
        tracks.residuals[rows] += recent * (residuals - tracks.residuals[rows])
        tracks.squares[rows] += recent * (squares - tracks.squares[rows])
        directed = (tracks.residuals[rows] ** 2).mean(1) / np.maximum(tracks.squares[rows], 1e-12)
        known = known * np.clip(2 * (1 - directed), 0, 1)
        tracks.weights[rows] = known + scores * geometry
        share = scores * geometry / tracks.weights[rows]
        tracks.boxes[rows] += share[:, None] * (boxes - tracks.boxes[rows])
        share = looked * existence / (tracks.evidence + existence)
        tracks.scores += share[:, None, None] * (seen - tracks.scores)
        tracks.evidence += looked * existence
        tracks.settled[rows] += scores
        tracks.missed += (not light) if windows is None else looked
        tracks.missed[rows] = 0
        tracks.sources[rows] = self._sources(found.indices[columns])
        tracks.source_boxes[rows] = tracks.carried[rows] = boxes
        self._tracks = tracks
        self._begin(found, others_than(columns, len(found.best)), light)
        self._absence = self._absence if light else 1.0

    def _worth(self, light: bool) -> tuple[float, float]:
        """Return the weights of boxes and of scores of a frame."""
        return (self.reliability.geometry, self.reliability.existence) if light else (1.0, 1.0)

    def _begin(self, found: Objects, indices: np.ndarray, light: bool) -> None:
        """Begin tracks with detections that are no second ones on an object."""
        same = classes_of(found.scores[indices])[:, None] == classes_of(self._tracks.scores)
        duplicate = (overlaps(found.boxes[indices], self._tracks.boxes) >= _DUPLICATE) & same
        indices = indices[~duplicate.any(1)]
        if not len(indices):
            return
        new, (geometry, existence) = _Tracks.new(len(indices), self.num_classes), self._worth(light)
        new.ids[:] = self._identities(found, indices)
        new.boxes[:] = new.carried[:] = new.source_boxes[:] = found.boxes[indices]
        new.weights[:] = found.best[indices] * geometry
        new.evidence[:] = existence + light * self._absence  # the last key frame did not show them
        new.scores[:] = found.scores[indices] * existence / new.evidence[:, None, None]
        new.squares[:] = _NOISE[0]
        new.settled[:] = found.best[indices]
        new.sources[:] = self._sources(found.indices[indices])
        self._tracks = self._tracks + new

    def _identities(self, found: Objects, indices: np.ndarray) -> list[int]:
        """Return identities of new tracks: those of undetected objects that were last detected
        there, or would be now.

        If such an object still has a track, which has lost it, that gets a new identity.
        """
        lost = self._tracks[self._tracks.sources[:, 0] != self._number] + self._ended
        lost = lost[np.abs(self._number - lost.sources[:, 0]) <= _REMEMBERED]
        same = classes_of(lost.scores.sum(1, keepdims=True))[:, None]
        same = same == classes_of(found.scores[indices])
        apart = [distances(of, found.boxes[indices]) for of in (lost.source_boxes, lost.boxes)]
        gain = 1 - np.minimum(*apart)
        allowed = same & (gain > 0) & (found.best[indices] >= lost.total[:, None])
        rows, columns = assign(gain, allowed)
        known = dict(zip(columns.tolist(), lost.ids[rows].tolist(), strict=True))
        self._ended = self._ended[np.isin(self._ended.ids, np.delete(lost.ids, rows))]
        ids = self._tracks.ids
        again = np.isin(ids, lost.ids[rows])
        ids[again] = [self.new_id() for _ in range(again.sum())]
        return [known[n] if n in known else self.new_id() for n in range(len(indices))]

    def _sources(self, indices: np.ndarray) -> np.ndarray:
        return np.stack([np.full_like(indices, self._number), indices], 1)


def report(estimate: Estimate) -> Tracked:
    """Return the objects of a frame.

    An object has the class of most evidence, and as score that of its detections, whatever class
    they had, so that one whose class alternates is one box. Other classes that the detector gave it
    at the same time follow.
    """
    first, second = estimate.scores[:, 0], estimate.scores[:, 1]
    labels, (weak, weak_sources) = classes_of(estimate.scores), estimate.weak
    rows, others = np.nonzero(second >= _SMALLEST)
    rows, others = rows[others != labels[rows]], others[others != labels[rows]]
    objects = np.concatenate([np.arange(len(labels)), rows])
    found = Tracked(
        np.concatenate([estimate.boxes[objects], weak.boxes]),
        np.concatenate([first.sum(1), second[rows, others], weak.scores]),
        np.concatenate([labels, others, weak.labels]),
        np.concatenate([estimate.ids[objects], np.full(len(weak.labels), -1)]),
        np.concatenate([estimate.sources[objects], weak_sources]),
        np.concatenate([estimate.source_boxes[objects], weak.boxes]),
    )
    order = np.argsort(-found.scores, kind='stable')
    found = Tracked(*(values[order] for values in found))
    best = np.unique(found.ids, return_index=True)[1]
    found.ids[others_than(best, len(order))] = -1
    return found


def combine(
    forward: Estimate, backward: Estimate, names: dict[int, int], new_id: Callable[[], int]
) -> Estimate:
    """Return what two filters know of a frame, one of which runs through the video backward.

    Boxes and scores of linked objects are weighted by how much is known of them. What only one
    filter knows appears or ends between two frames with detections, and its score is halved.

    Args:
        names: Identities for those of the backward filter, on later frames; those of this frame are
            added.
        new_id: Returns an identity for an object that the forward filter does not know.
    """
    one, other = link(forward.boxes, forward.scores, backward.boxes, backward.scores)
    names |= zip(backward.ids[other].tolist(), forward.ids[one].tolist(), strict=True)
    parts = []
    for mine, theirs, linked in ((forward, backward, one), (backward, forward, other)):
        lone = others_than(linked, len(mine.ids))
        part = [values[lone] for values in mine[:7]]
        part[1] = part[1] / 2 if theirs.began else part[1]
        parts.append(part)
    own = parts[1][4].tolist()
    names |= {name: new_id() for name in own if name not in names}
    parts[1][4] = np.array([names[name] for name in own], int)
    pairs = ((forward[at][one], backward[at][other]) for at in range(4))
    (boxes, more), (scores, others), *known = pairs
    shares = [mine / np.maximum(mine + theirs, 1e-12) for mine, theirs in known]
    boxes = more + shares[0][:, None] * (boxes - more)
    scores = others + shares[1][:, None, None] * (scores - others)
    linked = [boxes, scores, *(values[one] for values in forward[2:7])]
    joined = map(np.concatenate, zip(linked, *parts, strict=True))
    weak = forward.weak if forward.began else backward.weak
    return Estimate(*joined, weak, forward.began or backward.began)
