"""Operating points: how a video detector is run."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

from .methods import MethodError, method_class

FILTERS = 'causal', 'both', 'identities'
"""``causal``: results depend on earlier frames alone. ``both``: on some later ones, too, for which
they wait. ``identities``: results are those of the method, with the track ids of the causal filter.
"""


@dataclass(frozen=True)
class Point:
    """How a video detector is run: what users ask for, tables measure and folders recommend.

    What the method implies is set: *frame* has only key frames, *track* has no light frames, and
    tracked frames and *focus* need a filter, which is causal unless it is ``both``.

    Attributes:
        method: Name of a method, see :mod:`semidff.inference.methods`.
        key_interval: Key-frame interval l.
        scale: Input size relative to that of the config, for height and width.
        light_every: Distance between the non-key frames on which the method detects; the boxes of
            the others are tracked. 1: on all; 0: on none.
        filter: One of :data:`FILTERS`, or None: results are those of the method.
        runtime: Library that computes the frames: ``torch``, ``onnxruntime`` or ``openvino``.
        precision: ``fp32``, ``bf16`` or ``fp16``; None: that of the config's ``test_cfg.fp16``
            (which means bf16 on CPUs, as in ``tools/test.py``).

    Raises:
        MethodError: The method, the filter or ``light_every`` is unknown.
    """

    method: str = 'propagate'
    key_interval: int = 10
    scale: float = 1.0
    light_every: int = 1
    filter: str | None = None
    runtime: str = 'torch'
    precision: str | None = None

    def __post_init__(self) -> None:
        if self.filter not in (None, *FILTERS) or self.light_every < 0:
            raise MethodError(
                f'filter={self.filter!r}, light_every={self.light_every!r}: give one of {FILTERS}, '
                'and 0, 1, 2, ...'
            )
        implied: dict[str, Any] = {}
        kind = method_class(self.method)
        if self.method == 'frame':
            implied = dict(key_interval=1, light_every=1)
        elif kind.key_only:
            implied = dict(light_every=0)
        is_tracked = kind.sequential or implied.get('light_every', self.light_every) != 1
        if is_tracked and self.filter != 'both':
            implied['filter'] = 'causal'
        for name, value in implied.items():
            object.__setattr__(self, name, value)

    @property
    def uses_temporal(self) -> bool:
        """Whether the temporal module runs, whose weights are required."""
        return method_class(self.method).uses_temporal

    @property
    def is_causal(self) -> bool:
        """Whether results depend on earlier frames alone, so that live video has them at once."""
        return self.filter != 'both' and not method_class(self.method).needs_next

    @property
    def unfiltered(self) -> 'Point':
        """The point whose detections are filtered; points that share it are detected once.

        Where detections depend on the light frames before them, it has these, and a filter.
        """
        if method_class(self.method).sequential:
            return replace(self, filter='causal')
        method = 'copy' if self.method == 'track' else self.method
        return replace(self, method=method, light_every=1, filter=None)

    def changed(self, **fields: Any) -> 'Point':
        """Return the point with other fields; None stands for no change.

        Another method has the default key-frame interval and light frames, unless the fields say
        otherwise.
        """
        fields = {name: value for name, value in fields.items() if value is not None}
        if fields.get('method', self.method) != self.method:
            defaults = dict(key_interval=Point.key_interval, light_every=Point.light_every)
            fields = defaults | fields
        if fields.get('filter') == 'none':
            fields['filter'] = None
        return replace(self, **fields)

    def __str__(self) -> str:
        """Return the point in words, without defaults."""
        words = [
            self.method if self.method == 'frame' else f'{self.method}, l = {self.key_interval}'
        ]
        words.append(f'input × {self.scale:g}' * (self.scale != 1))
        words.append(f'light frames every {self.light_every}' * (self.light_every > 1))
        names = dict(causal='filtered', both='filtered both ways', identities='with track ids')
        words.append(names.get(self.filter, ''))
        words.append(self.runtime * (self.runtime != 'torch'))
        words.append(self.precision or '')
        return ', '.join(filter(None, words))

    @classmethod
    def parse(cls, text: str) -> 'Point':
        """Read a point from ``method=track,key_interval=10``.

        Raises:
            ValueError: A field is unknown or its value is not of its type.
        """
        types = {field.name: field.type for field in fields(cls)}
        values = {}
        for part in text.split(','):
            name, _, value = part.partition('=')
            if name not in types:
                raise ValueError(f'{part!r}: a point has the fields {", ".join(types)}')
            values[name] = types[name](value) if types[name] in (int, float) else value
        return cls(**values)


def grid(**values: Sequence) -> list[Point]:
    """Return the points of all combinations of the values of fields."""
    combinations = product(*values.values())
    return list(
        dict.fromkeys(Point(**dict(zip(values, each, strict=True))) for each in combinations)
    )
