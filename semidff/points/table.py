"""The table of operating points: what was measured, which point is best."""

import json
import math
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from operator import ge
from pathlib import Path
from typing import Any

from mmengine.config import Config

from semidff.checkpoints.read import detector_digest, read_checkpoint, weights_digest
from semidff.inference.methods import METHODS
from semidff.inference.point import Point
from semidff.utils.atomic_write import read_json, write_json

from .clips import Clip

DECIDING = 'AP', 'AP_50'
"""Metrics in which a recommended point loses little."""

MAX_LOSS = 0.03
"""Largest loss of a recommended point in each of them."""

LEAST_BOXES = 0.8
"""Least number of confident boxes of a recommended point, relative to the detector's.

AP ranks boxes, so that it does not see a loss of scores, which hides boxes from everybody who draws
those above a threshold.
"""

FEW = dict(frames=100, boxes=100, clips=2)
"""Evidence below which a report warns."""

_SLOWER = 1.1  # a point that takes up to so many times as long is recommended if its AP is higher


@dataclass
class Figures:
    """What was measured of a point: means over all frames of all clips.

    Attributes:
        metrics: ``AP``, ``AP_50``, ``AP_75``, 0 to 1; with labels, also ``mAP``. Those by another
            reference have a prefix: ``filtered/AP``, ``unseen/AP``, ``agreement/AP``.
        boxes: Confident boxes per frame.
        interval: Average key-frame interval that occurred.
        lights: Share of light frames.
        filtering: Seconds of a frame in the filter.
        asked: Requested runtime; what cannot be exported runs in PyTorch, as a point of ``torch``.
        seconds: Of a frame, from decoding to boxes; None until the times are measured.
        is_partial: Whether they are those of the first clips alone.
        classes: Number of boxes and AP (with labels, that of ImageNet VID) of each class.
        live: Streaming accuracy, see :mod:`semidff.points.live`.
    """

    metrics: dict[str, float]
    boxes: float
    interval: float
    lights: float
    filtering: float
    asked: str = 'torch'
    seconds: float | None = None
    is_partial: bool = False
    classes: dict[str, list] = field(default_factory=dict)
    live: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Table:
    """Measured points, kept in a file.

    Attributes:
        file: ``points.json``.
        key: What the figures depend on, see :func:`key_of`. Points with a temporal module depend on
            ``trained``, too.
        evidence: Number of frames, clips and reference boxes, and other facts for the report.
        rows: Figures by point, which has the runtime that computed it.
        failed: Why points have no figures.
    """

    file: Path
    key: dict[str, Any]
    evidence: dict[str, Any] = field(default_factory=dict)
    rows: dict[Point, Figures] = field(default_factory=dict)
    failed: dict[Point, str] = field(default_factory=dict)

    @classmethod
    def open(cls, file: str | Path, key: Mapping[str, Any]) -> 'Table':
        """Read a table; rows that depend on anything else than the key are left out."""
        table = cls(Path(file), json.loads(json.dumps(key)))
        content = read_json(table.file) if table.file.is_file() else {}
        known = content.get('key') if isinstance(content, dict) else None  # a list in 0.3.0
        if known is None or untrained_key(known) != untrained_key(table.key):
            return table
        table.evidence = content['evidence']
        is_same = known.get('trained') == table.key.get('trained')
        names = [field.name for field in fields(Point)]
        for row in content['points'] + content['failed']:
            if row['method'] not in METHODS:  # withdrawn
                continue
            point = Point(**{name: row.pop(name) for name in names})
            if not is_same and point.uses_temporal:
                continue
            if 'reason' in row:
                table.failed[point] = row['reason']
            else:
                table.rows[point] = Figures(**row)
        return table

    def save(self) -> None:
        content = dict(
            key=self.key,
            evidence=self.evidence,
            points=[asdict(point) | asdict(figures) for point, figures in self.rows.items()],
            failed=[asdict(point) | dict(reason=why) for point, why in self.failed.items()],
        )
        write_json(content, self.file, indent=1, nan_as_null=True)

    def missing(self, points: Iterable[Point]) -> list[Point]:
        """Return the points that were not measured on all clips, in PyTorch either if they need
        it.
        """
        rows = {point: own for point, own in self.rows.items() if not own.is_partial}
        asked = {replace(point, runtime=own.asked) for point, own in rows.items()}
        known = {*rows, *asked, *self.failed}
        return [point for point in dict.fromkeys(points) if point not in known]

    @property
    def measured(self) -> dict[Point, Figures]:
        """Rows with all figures."""
        return {point: own for point, own in self.rows.items() if own.seconds is not None}

    @property
    def detector(self) -> Point:
        """The detector on every frame, at the config's input size, the unit of speed and boxes."""
        return next(point for point in self.rows if _is_dense(point) and point.scale == 1)

    def metric(self, point: Point, name: str) -> float:
        """Return a metric; minus infinity where it is undefined, for lack of boxes."""
        value = self.rows[point].metrics.get(name)
        return -math.inf if value is None or math.isnan(value) else value

    def speed_up(self, point: Point) -> float:
        """Return how many times as fast as the detector a point is."""
        return self.rows[self.detector].seconds / self.rows[point].seconds

    def loss(self, point: Point, prefix: str = '') -> float:
        """Return the larger loss of AP and AP_50, against the best input size of the detector."""
        dense = [other for other in self.measured if _is_dense(other)]
        names = [prefix + name for name in DECIDING]
        best = {name: max(self.metric(other, name) for other in dense) for name in names}
        return max(best[name] - self.metric(point, name) for name in names)

    def keeps_boxes(self, point: Point) -> bool:
        """Return whether a point has about as many confident boxes as the detector."""
        return self.rows[point].boxes >= LEAST_BOXES * self.rows[self.detector].boxes

    def best(
        self,
        max_loss: float = MAX_LOSS,
        fps: float | None = None,
        causal: bool = False,
        prefix: str = '',
    ) -> Point:
        """Return the fastest point within the loss, of all or of the causal ones.

        Of those that take at most a tenth longer, it is the one of the highest AP. With ``fps``, it
        is the point of the highest AP that reaches it, or the fastest one if none does. Points that
        lose boxes (:data:`LEAST_BOXES`), and *copy*, which is measured for comparison, are not
        recommended; nor is *interpolate* at l = 2 by raw boxes: it stands for the detector there
        (:func:`~semidff.points.reference.stand_in`), so that its loss is always zero. Where the
        detector itself has no AP, it is the detector.

        Args:
            prefix: Of the metrics, see :class:`Figures`.
        """
        detector, name = self.detector, f'{prefix}AP'
        if not self.metric(detector, name) > 0:
            return detector
        seconds = {
            point: own.seconds
            for point, own in self.measured.items()
            if self._is_judged(point, prefix) and point.is_causal >= causal
        }
        if fps:
            fast = [point for point in seconds if seconds[point] <= 1 / fps]
            merits = lambda point: (self.metric(point, name), -seconds[point])  # noqa: E731
            return max(fast, key=merits, default=min(seconds, key=seconds.get))
        within = [p for p in seconds if p == detector or self.loss(p, prefix) <= max_loss]
        longest = _SLOWER * min(seconds[point] for point in within)
        within = [point for point in within if seconds[point] <= longest]
        return max(within, key=lambda point: self.metric(point, name))

    def _is_judged(self, point: Point, prefix: str = '') -> bool:
        """Return whether a point can be recommended."""
        by_raw = (self.evidence.get('reference'), prefix) in (('raw', ''), ('filtered', 'unseen/'))
        if by_raw and (point.method, point.key_interval, point.filter) == ('interpolate', 2, None):
            return False
        return point.method != 'copy' and self.keeps_boxes(point)

    def dominated(self, margin: float) -> dict[Point, Point]:
        """Return partial rows that are useless, and better ones, which can be recommended.

        Those are nowhere worse in time and in whether they are causal, and better by the margin in
        all metrics that decide, by any reference. The detector and the best point of each method by
        AP are kept.
        """
        partial = [point for point, own in self.measured.items() if own.is_partial]
        if not partial:
            return {}
        ranked = sorted(partial, key=lambda point: self.metric(point, 'AP'))
        kept = {self.detector, *{point.method: point for point in ranked}.values()}
        names = [n for n in self.rows[self.detector].metrics if n.rpartition('/')[2] in DECIDING]

        def merits(point: Point, more: float = 0.0) -> tuple[float, ...]:
            accuracy = (self.metric(point, name) + more for name in names)
            return -self.rows[point].seconds, point.is_causal, *accuracy

        others = [point for point in partial if point not in kept]
        return {
            point: other
            for point, other in product(others, filter(self._is_judged, partial))
            if all(map(ge, merits(other), merits(point, margin)))
        }

    def front(self, names: Sequence[str] = DECIDING) -> list[Point]:
        """Return the points that no other one dominates, from the fastest on.

        A point dominates another one if it is nowhere worse and somewhere better: in its time, in
        metrics as tables show them, and in whether it is causal.
        """
        merits = {
            point: (
                -own.seconds,
                float(point.is_causal),
                *(round(self.metric(point, name), 3) for name in names),
            )
            for point, own in self.measured.items()
        }
        kept = [
            point
            for point, own in merits.items()
            if not any(other != own and all(map(ge, other, own)) for other in merits.values())
        ]
        return sorted(kept, key=lambda point: self.rows[point].seconds)


def _is_dense(point: Point) -> bool:
    return point.method == 'frame' and point.filter is None


def untrained_key(key: Mapping[str, Any]) -> dict[str, Any]:
    """Return what figures depend on that need no trained weights."""
    return {name: value for name, value in key.items() if name != 'trained'}


def key_of(
    config: Config,
    detector: str,
    clips: Sequence[Clip],
    labels: str | Path | None = None,
    trained: str | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Return what figures depend on: weights, config, clips, labels, versions, machine.

    The number of threads is that of the cores, unless the user has set it: PyTorch's is that of the
    cores that are idle now.

    Args:
        detector, trained: Weights of points without and with a temporal module.
        settings: Others, see :func:`~semidff.points.measure.measure`.
    """
    described = {name: part for name, part in config.to_dict().items() if name != 'recommended'}
    processor = platform.processor()
    if (info := Path('/proc/cpuinfo')).is_file():
        processor = re.search('model name.*: (.*)|$', info.read_text())[1]
    versions = {}
    for name in ('semidff', 'torch', 'mmdet', 'mmcv', 'onnxruntime', 'openvino'):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return dict(
        detector=detector_digest(detector),
        trained=trained and weights_digest(read_checkpoint(trained)[0]),
        config=sha256(json.dumps(described, default=str, sort_keys=True).encode()).hexdigest(),
        clips=[clip.digest() for clip in clips],
        labels=labels and sha256(Path(labels).read_bytes()).hexdigest(),
        processor=processor,
        threads=os.environ.get('OMP_NUM_THREADS', cores),
        versions=versions,
        **settings,
    )
