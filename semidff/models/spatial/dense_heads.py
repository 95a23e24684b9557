"""Detectors with one dense head."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from mmdet.models import dense_heads
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures import SampleList
from torch import Tensor, nn

from . import box_outputs
from .box_outputs import weighted
from .head_family import HEAD_FAMILIES, HeadFamily, HeadOutput, levels, numbered, replaced, rows

ROI_INPUTS = 'roi_inputs'
"""Name of the heads' inputs among the raw outputs of a detector whose RoI head reads them."""

# Outputs after the class scores, in the order of ``forward``: kind of box output, then ``quality`` (trained at objects
# only) or ``objectness`` (everywhere).
OUTPUTS = dict(
    AutoAssignHead=('distances', 'objectness'),
    ATSSHead=('deltas', 'quality'),
    CenterNetUpdateHead=('distances',),
    DDODHead=('deltas', 'quality'),
    FCOSHead=('distances', 'quality'),
    FoveaHead=('logarithms',),
    FSAFHead=('top_bottom',),
    GFLHead=('distributions',),
    RPNHead=('deltas',),
    RepPointsHead=('corners',),
    RetinaHead=('deltas',),
    RetinaSepBNHead=('deltas',),
    RTMDetHead=('distances',),
    SSDHead=('deltas',),
    VFNetHead=('distances',),
    YOLOFHead=('deltas',),
    YOLOXHead=('centers', 'objectness'),
)
"""Box outputs and quality of the known heads; a subclass of a known head has the same outputs."""


@HEAD_FAMILIES.register_module()
class DenseHeads(HeadFamily):
    """Single-stage detectors whose ``bbox_head`` returns a list of maps for each kind of output.

    Raw outputs are named as mmdet calls them, with the level: ``cls_scores_0``. The semantic loss compares the heads
    listed in ``OUTPUTS``, anchor by anchor.

    It is also the family of all detectors that no other family handles. These predict and learn with their own loss
    and with the regression loss; raw outputs and the semantic loss raise a TypeError where the head is not known.
    """

    prefix = ''

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return True

    @property
    def dense_head(self) -> nn.Module | None:
        return getattr(self.detector, 'bbox_head', None)

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        head = self._separable_head()
        outputs = head(inputs)
        raw = {}
        for name, maps in zip(_names(head)[: len(outputs)], outputs, strict=True):
            if not (isinstance(maps, list | tuple) and all(isinstance(m, Tensor) for m in maps)):
                raise TypeError(
                    f'{type(head).__name__} does not return a list of maps for each kind of output, but '
                    f'{type(maps).__name__}; its outputs cannot be named'
                )
            raw.update(numbered(name, maps))
        return raw

    @contextmanager
    def given_raw_outputs(self, raw: Mapping[str, Tensor]) -> Iterator[None]:
        inputs = levels(ROI_INPUTS, raw)
        with (
            replaced(self.detector, 'extract_feat', inputs),
            replaced(self._separable_head(), 'forward', self._outputs(raw)),
        ):
            yield

    def head_outputs(
        self, raw: Mapping[str, Tensor], samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        head = self.dense_head
        known = next((OUTPUTS[c.__name__] for c in type(head).__mro__ if _is_known(c)), None)
        if known is None or len(outputs := self._outputs(raw)) != len(known) + 1:
            raise not_comparable(self.detector)
        kind, *quality = known
        scores, boxes, *qualities = outputs
        return weighted(
            rows(scores, head.cls_out_channels),
            getattr(box_outputs, kind)(boxes, head),
            *(rows(maps, 1) for maps in qualities),
            softmax=not head.use_sigmoid_cls,
            objectness=quality == ['objectness'],
            prefix=self.prefix,
        )

    def _outputs(self, raw: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], ...]:
        """Return what ``forward`` of the dense head returns."""
        return tuple(maps for name in _names(self._separable_head()) if (maps := levels(name, raw)))

    def _separable_head(self) -> nn.Module:
        """Return the dense head if its ``predict`` is ``forward`` followed by ``predict_by_feat``."""
        head = self.dense_head
        if isinstance(head, BaseDenseHead) and type(head).predict is BaseDenseHead.predict:
            return head
        found = type(self.detector).__name__ + (f' with {type(head).__name__}' if head else '')
        raise TypeError(
            f'{found} cannot be cut ahead of its post-processing: the first head must be one of '
            "mmdet's dense heads whose predict() is forward() and then predict_by_feat(). Only the regression loss "
            'applies (objectives=[dict(type="FeatureRegression")])'
        )


def not_comparable(detector: nn.Module) -> TypeError:
    """Return the error for a detector that the semantic loss does not know."""
    head = getattr(detector, 'bbox_head', None)
    found = type(detector).__name__ + (f' with {type(head).__name__}' if head else '')
    return TypeError(
        f'the semantic loss does not know the head outputs of {found}; train it with the regression loss alone '
        '(objectives=[dict(type="FeatureRegression")])'
    )


def _is_known(head: type) -> bool:
    """Return whether a class is one of mmdet's heads in ``OUTPUTS``, not another of the same name."""
    return head.__name__ in OUTPUTS and getattr(dense_heads, head.__name__, None) is head


def _names(head: nn.Module) -> list[str]:
    """Names of the outputs: ``predict_by_feat`` takes what ``forward`` returns, in its order."""
    return list(inspect.signature(head.predict_by_feat).parameters)
