"""N_task as far as its maps go; what is behind them are proposals, RoIs and NMS, the detector's post-processing.

Everything ahead of this seam has a fixed shape and only operators that other runtimes have.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from torch import Tensor, nn

from semidff.models.rfcn.rfcn import RFCN
from semidff.models.rfcn.score_maps import ScoreMaps

from .replaced import replaced

_INPUTS = 'roi_inputs'


def raw_outputs(detector: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """All maps that a detector's post-processing reads, by name.

    For R-FCN the four of :class:`~semidff.models.rfcn.score_maps.ScoreMaps`. For other detectors the dense head's
    outputs, called as mmdet calls them and numbered by level (``cls_scores_0``), and for two-stage ones also the
    heads' inputs, which the RoI head reads (``roi_inputs_0``).

    Args:
        detector: An mmdet detector.
        inputs: What its heads read, (N, C_l, H_l, W_l) per level.

    Raises:
        TypeError: If the detector has no dense head, or one whose outputs are not maps.
    """
    if isinstance(detector, RFCN):
        maps = inputs if isinstance(inputs, ScoreMaps) else detector.score_maps(inputs)
        return maps._asdict()
    head = _dense_head(detector)
    outputs = head(inputs)
    names = _names(head)[: len(outputs)]
    raw = {}
    for name, maps in zip(names, outputs, strict=True):
        raw.update(numbered(name, _maps(head, maps)))
    return (
        raw if head is not getattr(detector, 'rpn_head', None) else raw | numbered(_INPUTS, inputs)
    )


@contextmanager
def given_raw_outputs(detector: nn.Module, raw: Mapping[str, Tensor]) -> Iterator[None]:
    """Lets a detector's ``predict`` find its maps where it would compute them from images.

    Args:
        detector: An mmdet detector.
        raw: What :func:`raw_outputs` returned, or equal maps from elsewhere.
    """
    if isinstance(detector, RFCN):
        with replaced(detector, 'extract_feat', ScoreMaps(**raw)):
            yield
        return
    head = _dense_head(detector)
    outputs = [levels(name, raw) for name in _names(head)]
    outputs = tuple(maps for maps in outputs if maps)
    with (
        replaced(detector, 'extract_feat', levels(_INPUTS, raw)),
        replaced(head, 'forward', outputs),
    ):
        yield


def numbered(name: str, maps: Iterable[Tensor]) -> dict[str, Tensor]:
    """``name_0``, ``name_1``, ... of levels."""
    return {f'{name}_{index}': level for index, level in enumerate(maps)}


def levels(name: str, maps: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """The inverse of :func:`numbered`, from a mapping that may hold more."""
    found = []
    while (key := f'{name}_{len(found)}') in maps:
        found.append(maps[key])
    return tuple(found)


def _dense_head(detector: nn.Module) -> nn.Module:
    head = getattr(detector, 'rpn_head', None) or getattr(detector, 'bbox_head', None)
    if isinstance(head, BaseDenseHead) and type(head).predict is BaseDenseHead.predict:
        return head
    found = type(detector).__name__ + (f' with {type(head).__name__}' if head else '')
    raise TypeError(
        f'{found} cannot be cut ahead of its post-processing: the first head must be one of '
        "mmdet's dense heads whose predict() is forward() and then predict_by_feat()"
    )


def _names(head: nn.Module) -> list[str]:
    """``predict_by_feat`` takes what ``forward`` returns, in its order."""
    return list(inspect.signature(head.predict_by_feat).parameters)


def _maps(head: nn.Module, maps: Sequence[Tensor]) -> Sequence[Tensor]:
    if isinstance(maps, list | tuple) and all(isinstance(level, Tensor) for level in maps):
        return maps
    raise TypeError(
        f'{type(head).__name__} does not return a list of maps for each kind of output, but '
        f'{type(maps).__name__}; its outputs cannot be named'
    )
