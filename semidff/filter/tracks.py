"""The recursive filter: tracks of objects that move with the video and are corrected by detections."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import NamedTuple

import numpy as np

from .motion import move_boxes

MIN_SCORE = 0.05
"""Detections with a lower score belong to no track; they are repeated until the next detections."""

_LEAST_IOU = 0.4  # of a track and its detection
_LEAST_IOU_OTHER = 0.6  # the same, of different classes
_DUPLICATE = 0.5  # IoU with a track, above which a detection of its class begins no other one
_SAME_BOX = 0.95  # IoU of detections of different classes that are one object
_ENDS = 0.02  # score at which a track ends
_REMEMBERED = 60  # frames without detections, after which an object that returns is another one
_SMALLEST = 0.01  # score of a second class that is reported
_JITTER = 0.5  # pixels by which a step is wrong, even if all points agree
_RENEWAL = 0.5  # of the velocity, at each step
_KEY, _LIGHT = 0, 1  # sources of detections

_GRIDS = np.array([0, 0.03, 0.06, 0.12, 0.25, 0.5, 1]), np.array([0.06, 0.12, 0.25, 0.5, 1])
_WEIGHTS = [np.stack([np.ones_like(grid), grid], 1)[:, None] for grid in _GRIDS]  # with key frames
_FORGET = 0.98  # at each key frame
_PRIOR = 2.0  # weight of the reliabilities to begin with


class Detections(NamedTuple):
    """Detections of a frame.

    Attributes:
        boxes: (n, 4), xyxy, in pixels of the frame.
        scores: (n,), 0 to 1.
        labels: (n,), integers.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class FilterConstants:
    """Constants of the filter.

    Attributes:
        drift: How fast what is known of a box is forgotten: a step with a spread of its points divides the weight by
            1 + drift · (spread + 0.5 pixels) / size of the box.
        fade: Factor of the evidence that an object exists, at each frame.
        geometry: Weight of the boxes of light frames to begin with, relative to those of key frames.
        existence: Weight of their scores to begin with.
    """

    drift: float = 6.0
    fade: float = 0.85
    geometry: float = 0.12
    existence: float = 0.12


class Estimate(NamedTuple):
    """What is known of the objects of a frame.

    Attributes:
        boxes: (n, 4), xyxy.
        scores: (n, 2, C): of each class, the mean score of detections of which it is the best class, and of those of
            which it is another one.
        weights, evidence: (n,), how much is known of the boxes, and of the scores.
        ids: (n,) identities.
        sources: (n, 2): frame and index of the last detection.
        source_boxes: (n, 4), its boxes.
        weak: Detections with low scores, and their sources.
        began: Whether there were detections at all.
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


@dataclass
class Reliability:
    """How much light frames are worth, learned from key frames.

    When a key frame comes, what each weight on a grid would have predicted is compared with the detections. The weight
    with the least squared error is used, with a prior for the weight to begin with. If boxes of light frames are worth
    nothing, their scores are not used either.
    """

    constants: FilterConstants = field(default_factory=FilterConstants)

    def __post_init__(self) -> None:
        begin = self.constants.geometry, self.constants.existence
        self.geometry, self.existence = begin
        self._errors, self._counts = [np.zeros(len(grid)) for grid in _GRIDS], [0.0, 0.0]
        self._priors = [
            _PRIOR * (np.log(np.maximum(grid, 0.02)) - np.log(max(value, 0.02))) ** 2
            for grid, value in zip(_GRIDS, begin, strict=True)
        ]

    @property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights of key and light frames (2,): of boxes, and of scores."""
        existence = self.existence if self.geometry else 0
        return np.array([1, self.geometry]), np.array([1, existence])

    def learn(
        self, tracks: '_Tracks', links: tuple[np.ndarray, np.ndarray], found: '_Found'
    ) -> None:
        """Compare predictions of tracks with the linked detections of a key frame."""
        rows, columns = links
        known = (tracks.weights[rows] > 0).all(1)
        rows, columns = rows[known], columns[known]
        target, scores = found.boxes[columns], np.zeros(len(tracks))
        scores[links[0]] = found.best[links[1]]
        size = np.sqrt(_areas(target))
        boxes = _mean(tracks.boxes[rows], _WEIGHTS[0] * tracks.weights[rows])
        errors = np.minimum(np.abs(boxes - target).mean(-1) / size, 0.3) ** 2
        seen = tracks.evidence[:, _LIGHT] > 0
        existing = tracks.scores[seen, :, 0].sum(-1)[..., None]
        existing = _mean(existing, _WEIGHTS[1] * tracks.evidence[seen])[..., 0]
        self.geometry = self._best(0, errors)
        self.existence = self._best(1, (existing - scores[seen]) ** 2)

    def _best(self, which: int, errors: np.ndarray) -> float:
        """Return the best weight, given further errors (weights, n)."""
        self._errors[which] = total = _FORGET * self._errors[which] + errors.sum(1)
        self._counts[which] = count = _FORGET * self._counts[which] + errors.shape[1]
        # Twice the negative logarithm of the likelihood, relative to the noise of the best one.
        cost = count * total / max(total.min(), 1e-12) + self._priors[which]
        return float(_GRIDS[which][cost.argmin()])


@dataclass
class _Tracks:
    """Tracks, with what key frames and what light frames since the last key frame say, (n, 2, ...)."""

    ids: np.ndarray
    boxes: np.ndarray
    weights: np.ndarray
    scores: np.ndarray
    evidence: np.ndarray
    velocities: np.ndarray
    sources: np.ndarray
    source_boxes: np.ndarray

    @classmethod
    def new(cls, count: int, classes: int) -> '_Tracks':
        shapes = (), (2, 4), (2,), (2, 2, classes), (2,), (2,), (2,), (4,)
        tracks = cls(*(np.zeros((count, *shape)) for shape in shapes))
        tracks.ids, tracks.sources = tracks.ids.astype(int), tracks.sources.astype(int)
        return tracks

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, chosen: np.ndarray) -> '_Tracks':
        return _Tracks(*(getattr(self, one.name)[chosen] for one in fields(self)))

    def __add__(self, other: '_Tracks') -> '_Tracks':
        pairs = ((getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return _Tracks(*map(np.concatenate, pairs))


class _Found(NamedTuple):
    """Objects that a detector finds: boxes, scores (n, 2, C) as in :class:`Estimate`, best ones, indices."""

    boxes: np.ndarray
    scores: np.ndarray
    best: np.ndarray
    indices: np.ndarray


class TrackFilter:
    """Follows the objects of one video, causally.

    On every frame, boxes are moved by sparse optical flow (:func:`~semidff.filter.motion.move_boxes`), and what is
    known of them fades. On frames with detections, a track's box becomes the weighted mean of itself and of its
    detection; its score is a weighted mean of all scores, with 0 where it was not detected. So an object is not lost if
    the detector misses it once, and a false one fades. The equations are in docs/filter.md.

    Args:
        num_classes: Number of classes C.
        constants: The defaults are for any detector and video.
        reliability: What is known of light frames, from an earlier filter of the same video.
        learn: Whether to learn the reliability.
        first_id: The first identity.

    Example:
        >>> tracks = TrackFilter(num_classes=80)
        >>> for number, image in enumerate(video):
        ...     found = detect(image) if number % 10 == 0 else None  # boxes, scores, labels
        ...     boxes, scores, labels, ids, *_ = report(tracks.step(picture_of(image), image.shape[:2], found))
    """

    def __init__(
        self,
        num_classes: int,
        constants: FilterConstants | None = None,
        reliability: Reliability | None = None,
        learn: bool = True,
        first_id: int = 0,
    ) -> None:
        self.num_classes = num_classes
        self.constants = constants or FilterConstants()
        self.reliability = reliability or Reliability(self.constants)
        self.learn = learn
        self._tracks = self._ended = _Tracks.new(0, num_classes)
        self._now = np.zeros((0, 4)), np.zeros((0, 2, num_classes))  # boxes and scores
        self._picture: np.ndarray | None = None
        self._weak = (
            Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)),
            np.zeros((0, 2), int),
        )
        self._number, self._next_id, self._absence = -1, first_id, 0.0
        self._began = False  # there were detections

    def step(
        self,
        picture: np.ndarray,
        size: tuple[int, int],
        detections: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        light: bool = False,
        number: int | None = None,
    ) -> Estimate:
        """Take the next frame.

        Args:
            picture: Its gray picture, see :func:`~semidff.filter.motion.picture_of`.
            size: Its height and width, in whose pixels boxes are.
            detections: Boxes (n, 4) xyxy, scores and labels (n,); None if nothing was detected on this frame.
            light: Whether they are of a light frame, so that key frames tell how reliable they are.
            number: What ``sources`` calls this frame; default: one more than the frame before.
        """
        self._number = self._number + 1 if number is None else number
        if self._picture is not None and len(self._tracks):
            self._move(picture, np.array([picture.shape[1] / size[1], picture.shape[0] / size[0]]))
        self._picture = picture
        self._absence *= self.constants.fade
        if detections is not None:
            self._correct(Detections(*detections), _LIGHT if light else _KEY)
            self._now = self._estimate()
        boxes, scores = self._now
        inside = (boxes[:, 2:] > 0).all(1) & (boxes[:, :2] < size[::-1]).all(1)
        chosen = inside & (scores[:, 0].sum(-1) > _ENDS)
        if not chosen.all():
            self._ended = self._ended + self._tracks[inside & ~chosen]
            self._tracks, self._now = self._tracks[chosen], (boxes[chosen], scores[chosen])
        tracks = self._tracks
        return Estimate(
            *self._now,
            tracks.weights @ self.reliability.weights[0],
            tracks.evidence @ self.reliability.weights[1],
            tracks.ids,
            tracks.sources.copy(),
            tracks.source_boxes.copy(),
            self._weak,
            self._began,
        )

    def new_id(self) -> int:
        """Return the next identity."""
        self._next_id += 1
        return self._next_id - 1

    def fork(self) -> 'TrackFilter':
        """Return a copy, which goes on by itself."""
        other = copy.deepcopy(self)
        other._fork = self._next_id
        return other

    def take_identities(self, other: 'TrackFilter') -> None:
        """Name what this fork of a filter has found as the filter itself does, which has taken as many frames."""
        mine, theirs, first = self._tracks, other._tracks, self._fork
        new = np.flatnonzero(mine.ids >= first)
        free = np.flatnonzero(~np.isin(theirs.ids, mine.ids[mine.ids < first]))
        parts = ((of._now[0][at], of._now[1][at]) for of, at in ((self, new), (other, free)))
        rows, columns = link(*chain.from_iterable(parts))
        linked = mine.ids[new[rows]].tolist(), theirs.ids[free[columns]].tolist()
        names = dict(zip(*linked, strict=True))
        self._ended = self._ended[~np.isin(self._ended.ids, linked[1])]
        self._next_id = max(self._next_id, other._next_id)
        for tracks in (mine, self._ended):
            for old in tracks.ids[tracks.ids >= first].tolist():
                names[old] = names[old] if old in names else self.new_id()
            tracks.ids = np.array([names.get(old, old) for old in tracks.ids.tolist()], int)

    def _estimate(self) -> tuple[np.ndarray, np.ndarray]:
        tracks, (geometry, existence) = self._tracks, self.reliability.weights
        return _mean(tracks.boxes, geometry * tracks.weights), _mean(
            tracks.scores, existence * tracks.evidence, nothing=0.0
        )

    def _move(self, picture: np.ndarray, scale: np.ndarray) -> None:
        tracks, constants, (boxes, scores) = self._tracks, self.constants, self._now
        steps, spread = move_boxes(
            self._picture, picture, boxes * np.tile(scale, 2), tracks.velocities * scale
        )
        steps, spread = steps / scale, spread / scale.mean()
        shift = np.tile(steps, 2)
        tracks.boxes = tracks.boxes + shift[:, None]
        self._now = boxes + shift, scores  # both sources move and fade alike
        started = tracks.velocities.any(1)
        renewal = np.where(started, _RENEWAL, 1.0)[:, None]
        tracks.velocities = tracks.velocities + renewal * (steps - tracks.velocities)
        size = np.sqrt(np.maximum(_areas(boxes), 1.0))
        wrong = np.minimum(spread, 10 / scale.mean()) + _JITTER / scale.mean()
        tracks.weights = tracks.weights / (1 + constants.drift * wrong / size)[:, None]
        tracks.evidence = tracks.evidence * constants.fade

    def _correct(self, detections: Detections, source: int) -> None:
        strong = detections.scores >= MIN_SCORE
        if source == _KEY or self.reliability.geometry:
            weak = Detections(*(values[~strong] for values in detections))
            self._weak = weak, self._sources(np.flatnonzero(~strong))
        self._began = True
        found = _objects(detections, np.flatnonzero(strong), self.num_classes)
        boxes, scores = self._now
        links = link(boxes, scores, found.boxes, found.scores)
        if source == _KEY:
            self._absence = 1.0
            if self.learn:
                self.reliability.learn(self._tracks, links, found)
                boxes, scores = self._estimate()
            self._merge_sources(boxes, scores)
        tracks, (rows, columns) = self._tracks, links
        old, new = tracks.weights[rows, source, None], found.best[columns, None]
        moved = old * tracks.boxes[rows, source] + new * found.boxes[columns]
        tracks.boxes[rows, source] = moved / (old + new)
        tracks.weights[rows, source] += new[:, 0]
        seen = np.zeros_like(scores)
        seen[rows] = found.scores[columns]
        old = tracks.evidence[:, source, None, None]
        tracks.scores[:, source] = (old * tracks.scores[:, source] + seen) / (old + 1)
        tracks.evidence[:, source] += 1
        tracks.sources[rows] = self._sources(found.indices[columns])
        tracks.source_boxes[rows] = found.boxes[columns]
        self._begin(found, np.setdiff1d(np.arange(len(found.best)), columns), boxes, scores, source)

    def _merge_sources(self, boxes: np.ndarray, scores: np.ndarray) -> None:
        """Make what light frames said part of what is known, before a key frame corrects it."""
        tracks, (geometry, existence) = self._tracks, self.reliability.weights
        nothing = np.zeros(len(tracks))
        tracks.weights = np.stack([tracks.weights @ geometry, nothing], 1)
        tracks.evidence = np.stack([tracks.evidence @ existence, nothing], 1)
        tracks.boxes, tracks.scores = (np.stack([one, one], 1) for one in (boxes, scores))

    def _begin(
        self,
        found: _Found,
        indices: np.ndarray,
        boxes: np.ndarray,
        scores: np.ndarray,
        source: int,
    ) -> None:
        """Begin tracks with detections that are no second ones on an object."""
        if len(indices) and len(boxes):
            same = _classes(found.scores[indices])[:, None] == _classes(scores)
            duplicate = (overlaps(found.boxes[indices], boxes) >= _DUPLICATE) & same
            indices = indices[~duplicate.any(1)]
        if not len(indices):
            return
        new = _Tracks.new(len(indices), scores.shape[-1])
        new.ids[:] = self._identities(found, indices)
        new.boxes[:] = found.boxes[indices, None]
        new.evidence[:, _KEY] = self._absence  # the last key frame did not show them
        new.weights[:, source], new.evidence[:, source] = found.best[indices], 1
        new.scores[:, source] = found.scores[indices]
        new.sources[:], new.source_boxes[:] = self._sources(found.indices[indices]), new.boxes[:, 0]
        self._tracks = self._tracks + new

    def _identities(self, found: _Found, indices: np.ndarray) -> list[int]:
        """Return identities of new tracks: those of undetected objects that were last detected there, or new ones.

        If such an object still has a track, which has lost it, that gets a new identity.
        """
        lost = self._tracks[self._tracks.sources[:, 0] != self._number] + self._ended
        lost = lost[np.abs(self._number - lost.sources[:, 0]) <= _REMEMBERED]
        same = _classes(lost.scores.sum(1))[:, None] == _classes(found.scores[indices])
        gain = 1 - _distances(lost.source_boxes, found.boxes[indices])
        rows, columns = _assign(gain, same & (gain > 0))
        known = dict(zip(columns.tolist(), lost.ids[rows].tolist(), strict=True))
        self._ended = self._ended[np.isin(self._ended.ids, np.delete(lost.ids, rows))]
        ids = self._tracks.ids = self._tracks.ids.copy()  # estimates have them
        again = np.isin(ids, lost.ids[rows])
        ids[again] = [self.new_id() for _ in range(again.sum())]
        return [known[n] if n in known else self.new_id() for n in range(len(indices))]

    def _sources(self, indices: np.ndarray) -> np.ndarray:
        return np.stack([np.full_like(indices, self._number), indices], 1)


def report(estimate: Estimate) -> Tracked:
    """Return the objects of a frame.

    An object has the class of most evidence, and as score that of its detections, whatever class they had, so that one
    whose class alternates is one box. Other classes that the detector gave it at the same time follow.
    """
    first, second = estimate.scores[:, 0], estimate.scores[:, 1]
    labels, (weak, weak_sources) = _classes(estimate.scores), estimate.weak
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
    found.ids[np.setdiff1d(np.arange(len(order)), best)] = -1
    return found


def combine(
    forward: Estimate, backward: Estimate, names: dict[int, int], new_id: Callable[[], int]
) -> Estimate:
    """Return what two filters know of a frame, one of which runs through the video backward.

    Boxes and scores of linked objects are weighted by how much is known of them. What only one filter knows appears or
    ends between two frames with detections, and its score is halved.

    Args:
        names: Identities for those of the backward filter, on later frames; those of this frame are added.
        new_id: Returns an identity for an object that the forward filter does not know.
    """
    one, other = link(forward.boxes, forward.scores, backward.boxes, backward.scores)
    names |= zip(backward.ids[other].tolist(), forward.ids[one].tolist(), strict=True)
    parts = []
    for mine, theirs, linked in ((forward, backward, one), (backward, forward, other)):
        lone = np.setdiff1d(np.arange(len(mine.ids)), linked)
        part = [values[lone] for values in mine[:7]]
        part[1] = part[1] / 2 if theirs.began else part[1]
        parts.append(part)
    own = parts[1][4].tolist()
    names |= {name: new_id() for name in own if name not in names}
    parts[1][4] = np.array([names[name] for name in own], int)
    pairs = [np.stack([forward[at][one], backward[at][other]], 1) for at in range(4)]
    boxes, scores = _mean(pairs[0], pairs[2]), _mean(pairs[1], pairs[3], nothing=0.0)
    linked = [boxes, scores, *(values[one] for values in forward[2:7])]
    joined = map(np.concatenate, zip(linked, *parts, strict=True))
    weak = forward.weak if forward.began else backward.weak
    return Estimate(*joined, weak, forward.began or backward.began)


def link(
    boxes: np.ndarray, scores: np.ndarray, others: np.ndarray, other_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Link boxes (n, 4) and (m, 4) one to one by IoU, those of one class first; return indices into both."""
    iou = overlaps(boxes, others)
    same = _classes(scores)[:, None] == _classes(other_scores)
    allowed = iou >= np.where(same, _LEAST_IOU, _LEAST_IOU_OTHER)
    return _assign(iou + np.where(same, 1.0, 0.5), allowed)


def _assign(gain: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the allowed pairs (n, m) with the largest sum of gains, one to one, as indices."""
    from scipy.optimize import linear_sum_assignment  # takes half a second

    rows, columns = linear_sum_assignment(np.where(allowed, gain, 0.0), maximize=True)
    chosen = allowed[rows, columns]
    return rows[chosen], columns[chosen]


def _distances(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return distances (n, m): of the centers, in mean diagonals, and of the logarithms of the diagonals."""
    (center, size), (other, other_size) = (
        ((one[:, :2] + one[:, 2:]) / 2, np.linalg.norm(one[:, 2:] - one[:, :2], axis=1) + 1e-6)
        for one in (boxes, others)
    )
    apart = np.linalg.norm(center[:, None] - other, axis=-1) / (size[:, None] + other_size) * 2
    return apart + np.abs(np.log(size[:, None] / other_size))


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the IoU (n, m) of boxes (n, 4) and (m, 4), xyxy."""
    top = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    both = np.prod(np.maximum(bottom - top, 0), -1)
    return both / np.maximum(_areas(boxes)[:, None] + _areas(others) - both, 1e-9)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2], -1)


def _classes(scores: np.ndarray) -> np.ndarray:
    return scores[:, 0].argmax(-1) if scores.size else np.zeros(len(scores), int)


def _mean(values: np.ndarray, weights: np.ndarray, nothing: float = 1.0) -> np.ndarray:
    """Return the weighted mean over two sources, (..., n, ...) of (n, 2, ...) and (..., n, 2).

    ``nothing`` is the weight of light frames where there is no weight at all.
    """
    empty = weights.sum(-1) <= 0
    weights = np.stack([weights[..., 0], np.where(empty, nothing, weights[..., 1])], -1)
    weights = weights / np.where(empty, 1.0, weights.sum(-1))[..., None]
    weights = weights.reshape(*weights.shape, *[1] * (values.ndim - 2))
    return (weights * values).sum(1 - values.ndim)


def _objects(detections: Detections, strong: np.ndarray, classes: int) -> _Found:
    """Return the objects of strong detections: those of several classes with one box are one object."""
    strong = strong[np.argsort(-detections.scores[strong], kind='stable')]
    boxes, scores, labels = (values[strong] for values in detections)
    alike = (overlaps(boxes, boxes) >= _SAME_BOX) & (labels[:, None] != labels)
    owner = np.arange(len(strong))
    for best in np.flatnonzero(np.triu(alike).any(1)):
        if owner[best] == best:
            later = np.flatnonzero(alike[best] & (owner == np.arange(len(strong))))
            owner[later[later > best]] = best
    heads, at = np.unique(owner, return_inverse=True)
    own = np.zeros((len(heads), 2, classes))
    np.maximum.at(own, (at, (owner != np.arange(len(strong))).astype(int), labels), scores)
    return _Found(
        boxes[heads].astype(np.float64), own, scores[heads].astype(np.float64), strong[heads]
    )
