"""Detectors with one dense head."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models import dense_heads
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector
from mmdet.models.detectors.single_stage_instance_seg import SingleStageInstanceSegmentor
from mmdet.structures import SampleList
from mmdet.structures.bbox import distance2bbox
from torch import Tensor, nn

from . import box_outputs
from .box_outputs import joint, weighted
from .fixed_shape import DenseHead, FixedShape, knows, knows_dense_head, knows_yolox_head
from .head_family import (
    HEAD_FAMILIES,
    REGRESSION_ONLY,
    HeadFamily,
    HeadOutput,
    Raw,
    levels,
    numbered,
    rows,
    twin,
)

ROI_INPUTS = 'roi_inputs'
"""Name of the heads' inputs among the raw outputs of a detector whose RoI head reads them."""

HEADS = (
    DenseHead(dense_heads.AutoAssignHead, box_outputs.distances, 'factor'),
    DenseHead(dense_heads.ATSSHead, box_outputs.deltas, 'quality'),
    DenseHead(dense_heads.CenterNetUpdateHead, box_outputs.distances),
    DenseHead(dense_heads.DDODHead, box_outputs.deltas, 'quality'),
    DenseHead(dense_heads.FCOSHead, box_outputs.distances, 'quality'),
    DenseHead(
        dense_heads.FoveaHead,
        box_outputs.logarithms,
        decode_level=lambda head, level, x: head.base_edge_list[level] * x.exp(),
        decode=lambda head, priors, x: distance2bbox(priors, x),
        largest=lambda head: -1,
    ),
    DenseHead(dense_heads.FSAFHead, box_outputs.top_bottom),
    DenseHead(
        dense_heads.GFLHead,
        box_outputs.distributions,
        decode_level=lambda head, level, x: (
            head.integral(x) * head.prior_generator.strides[level][0]
        ),
        decode=lambda head, priors, x: head.bbox_coder.decode(head.anchor_center(priors), x),
    ),
    DenseHead(dense_heads.RPNHead, box_outputs.deltas),
    DenseHead(
        dense_heads.RepPointsHead,
        box_outputs.corners,
        decode_level=lambda head, level, x: x * head.point_strides[level],
        decode=lambda head, priors, x: x + priors[:, :2].repeat(1, 2),
        largest=lambda head: 0,
    ),
    DenseHead(dense_heads.RetinaHead, box_outputs.deltas),
    DenseHead(dense_heads.RetinaSepBNHead, box_outputs.deltas),
    DenseHead(dense_heads.RTMDetHead, box_outputs.distances),
    DenseHead(dense_heads.SSDHead, box_outputs.deltas),
    DenseHead(dense_heads.VFNetHead, box_outputs.distances),
    DenseHead(dense_heads.YOLOFHead, box_outputs.deltas),
    DenseHead(dense_heads.YOLOXHead, box_outputs.centers, 'objectness'),
)
"""A subclass of a known head has the same outputs."""

TOWERS = (
    ('cls_convs', 'reg_convs'),
    ('multi_level_cls_convs', 'multi_level_reg_convs'),
    ('cls_subnet', 'bbox_subnet'),
)
"""Names of the towers in mmdet's heads."""


_KEPT = 16
"""Sizes of frames for which priors are kept."""


@HEAD_FAMILIES.register_module()
class DenseHeads(HeadFamily):
    """Single-stage detectors whose ``bbox_head`` returns a list of maps for each kind of output.

    Raw outputs are named as mmdet calls them, with the level: ``cls_scores_0``. The semantic loss
    compares the heads listed in ``HEADS``, anchor by anchor.

    It is also the family of all detectors that no other family handles. These predict and learn
    with their own loss and with the regression loss; raw outputs and the semantic loss raise a
    TypeError where the head is not known.
    """

    kinds, priority = (nn.Module,), 0
    precise = (dense_heads.YOLOFHead,)  # limits exponentials to 1e8: too large for float16
    contiguous = (dense_heads.CornerHead,)  # its post-processing calls `view` on its outputs
    prefix, box_weight = '', box_outputs.BOXES
    probabilities = ''
    """Name of the output of probabilities; raw outputs have logits, which can be scaled."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__(detector)
        if isinstance(self.dense_head, dense_heads.SSDHead) and not hasattr(
            self.dense_head, 'loss_cls'
        ):
            self.dense_head.loss_cls = None  # mmdet's post-processing reads it, but SSD has none

    @property
    def known(self) -> DenseHead:
        kinds = type(self.dense_head).__mro__
        return next((head for kind in kinds for head in HEADS if head.kind is kind), DenseHead())

    @property
    def output_modules(self) -> list[str]:
        return [self.head_name]

    @property
    def towers(self) -> list[str]:
        pairs = (
            [name for name in names if len(getattr(self.dense_head, name, ()))] for names in TOWERS
        )
        return next((pair for pair in pairs if pair), [])

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        head = self._separable_head()
        outputs = self._forward(head, inputs)
        raw = {}
        for name, maps in zip(_names(head)[: len(outputs)], outputs, strict=True):
            if not (isinstance(maps, list | tuple) and all(isinstance(m, Tensor) for m in maps)):
                raise TypeError(
                    f'{type(head).__name__} cannot be cut ahead of its post-processing: it does '
                    f'not return a list of maps for each kind of output. {REGRESSION_ONLY}'
                )
            raw.update(numbered(name, maps))
        return raw

    def _forward(self, head: nn.Module, inputs: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Return the outputs of the head, with logits in place of :attr:`probabilities`."""
        return head(inputs)

    def detector_on_raw(self, raw: Raw) -> nn.Module:
        logits = levels(self.probabilities, raw)
        raw = {**raw, **numbered(self.probabilities, [level.sigmoid() for level in logits])}
        inputs, outputs = levels(ROI_INPUTS, raw), self._outputs(raw)
        head = twin(self._separable_head(), forward=lambda *_, **__: outputs)
        if hasattr(head, 'prior_generator'):
            head.prior_generator = copy.copy(head.prior_generator)
            head.prior_generator.grid_priors = self._kept_priors
        return twin(self.detector, extract_feat=lambda *_, **__: inputs, **{self.head_name: head})

    def _kept_priors(self, sizes: Sequence[tuple[int, int]], **options: Any) -> list[Tensor]:
        """Return the anchors or points of all levels, which depend on their sizes alone."""
        if torch.compiler.is_compiling():  # with tensors that hold no values
            return self.dense_head.prior_generator.grid_priors(sizes, **options)
        key = (*map(tuple, sizes), *map(str, options.values()))
        found = self.kept.get(key)  # another thread may clear it
        if found is None:
            if len(self.kept) >= _KEPT:
                self.kept.clear()
            with torch.inference_mode(False):  # usable in training, too
                found = self.dense_head.prior_generator.grid_priors(sizes, **options)
            self.kept[key] = found
        return list(found)

    def fixed_shape(self, detector: nn.Module, raw: Raw, geometry: Tensor) -> Tensor | None:
        head, known = detector.bbox_head, self.known
        if not knows(detector, SingleStageDetector.predict):
            return None
        fixed, outputs = FixedShape(geometry), self._outputs(raw)
        if knows_yolox_head(head):
            return fixed.yolox(head, outputs, self._priors(outputs[0], with_stride=True))
        if knows_dense_head(head, known):
            return fixed.dense(head, known, outputs, self._priors(outputs[0]))
        return None

    def _priors(self, maps: Sequence[Tensor], **options: Any) -> list[Tensor]:
        options |= dict(dtype=maps[0].dtype, device=maps[0].device)
        return self._kept_priors([level.shape[-2:] for level in maps], **options)

    def head_outputs(
        self, raw: Raw, samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        head = self.dense_head
        known = self.known
        if known.boxes is None or len(outputs := self._outputs(raw)) != 2 + bool(known.quality):
            raise not_comparable(self.detector)
        if known.boxes is box_outputs.deltas and not hasattr(head.bbox_coder, 'stds'):
            raise not_comparable(self.detector)
        scores, boxes, *qualities = outputs
        logits = rows(scores, head.cls_out_channels)
        qualities = [rows(maps, 1) for maps in qualities]
        if known.quality == 'factor':
            logits = joint(logits, qualities.pop())
        return weighted(
            logits,
            known.boxes(boxes, head),
            *qualities,
            softmax=not head.use_sigmoid_cls,
            objectness=known.quality == 'objectness',
            prefix=self.prefix,
            box_weight=self.box_weight,
        )

    def classes_of(self, name: str) -> int:
        head = self.dense_head
        own = name.rsplit('_', 1)[0] == _names(head)[0] and getattr(head, 'use_sigmoid_cls', False)
        return head.cls_out_channels if own else 1

    def _outputs(self, raw: Raw) -> tuple[list[Tensor], ...]:
        """Return what ``forward`` of the dense head returns: lists, which FSAF's loss changes."""
        names = _names(self._separable_head())
        return tuple([*maps] for name in names if (maps := levels(name, raw)))

    def _separable_head(self) -> nn.Module:
        """Return the dense head if its ``predict`` is ``forward`` and then ``predict_by_feat``."""
        head = self.dense_head
        plain = isinstance(head, BaseDenseHead) and type(head).predict is BaseDenseHead.predict
        if plain and not isinstance(self.detector, SingleStageInstanceSegmentor):
            return head
        raise TypeError(
            f'{self.name} cannot be cut ahead of its post-processing: predict() of its only head '
            f'must be forward() and then predict_by_feat(). {REGRESSION_ONLY}'
        )


def not_comparable(module: nn.Module, part: nn.Module | None = None) -> TypeError:
    """Return the error for a detector or a head that the semantic loss does not know.

    The part is its ``bbox_head`` by default, if it has one.
    """
    part = part or getattr(module, 'bbox_head', None)
    found = type(module).__name__ + (f' with {type(part).__name__}' if part else '')
    return TypeError(
        f'the semantic loss does not know the head outputs of {found}. {REGRESSION_ONLY}'
    )


def _names(head: nn.Module) -> list[str]:
    # ``predict_by_feat`` takes what ``forward`` returns, in its order.
    return list(inspect.signature(head.predict_by_feat).parameters)
