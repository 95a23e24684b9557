"""Detectors with one dense head."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures import SampleList
from torch import Tensor, nn

from .head_family import HEAD_FAMILIES, HeadFamily, HeadOutputs, levels, numbered, replaced

ROI_INPUTS = 'roi_inputs'
"""Name of the heads' inputs among the raw outputs of a detector whose RoI head reads them."""


@HEAD_FAMILIES.register_module()
class DenseHeads(HeadFamily):
    """Single-stage detectors whose ``bbox_head`` returns a list of maps for each kind of output.

    Raw outputs are named as mmdet calls them, with the level: ``cls_scores_0``. The semantic loss compares
    classification and box outputs anchor by anchor.

    It is also the family of all detectors that no other family handles. These predict and learn with their own loss
    and with the regression loss; raw outputs and the semantic loss raise a TypeError where the head is not known.
    """

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
        head = self._separable_head()
        inputs = levels(ROI_INPUTS, raw)
        outputs = tuple(maps for name in _names(head) if (maps := levels(name, raw)))
        with replaced(self.detector, 'extract_feat', inputs), replaced(head, 'forward', outputs):
            yield

    def head_outputs(
        self, inputs: Sequence[Tensor], samples: SampleList, proposals: list | None
    ) -> HeadOutputs:
        head = self.dense_head
        if not hasattr(head, 'cls_out_channels'):
            raise TypeError(
                f'{type(self.detector).__name__} has no dense head, so there is nothing for the semantic loss to '
                'compare; train it with the regression loss alone'
            )
        classes = head.cls_out_channels
        logits, boxes = [], []
        # Per level, scores (N, A * K, H, W) and boxes (N, A * D, H, W).
        for score, box in zip(*head(inputs)[:2], strict=True):
            anchors = score.shape[1] // classes
            logits.append(score.permute(0, 2, 3, 1).reshape(-1, classes))
            boxes.append(box.permute(0, 2, 3, 1).reshape(-1, box.shape[1] // anchors))
        logits, boxes = torch.cat(logits), torch.cat(boxes)
        if getattr(head, 'use_sigmoid_cls', False):
            # A sigmoid is the two-class softmax of (logit, 0).
            logits = torch.stack((logits, torch.zeros_like(logits)), dim=-1)
        return HeadOutputs(logits, boxes)

    def _separable_head(self) -> nn.Module:
        """Return the dense head if its ``predict`` is ``forward`` followed by ``predict_by_feat``."""
        head = self.dense_head
        if isinstance(head, BaseDenseHead) and type(head).predict is BaseDenseHead.predict:
            return head
        found = type(self.detector).__name__ + (f' with {type(head).__name__}' if head else '')
        raise TypeError(
            f'{found} cannot be cut ahead of its post-processing: the first head must be one of '
            "mmdet's dense heads whose predict() is forward() and then predict_by_feat()"
        )


def _names(head: nn.Module) -> list[str]:
    """Names of the outputs: ``predict_by_feat`` takes what ``forward`` returns, in its order."""
    return list(inspect.signature(head.predict_by_feat).parameters)
