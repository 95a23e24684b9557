"""Detectors with an encoder, a decoder and its queries in place of dense heads."""

from collections.abc import Sequence

import torch
from mmdet.models import detectors
from mmdet.models.dense_heads import DETRHead
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .box_outputs import CENTER, weighted
from .dense_heads import ROI_INPUTS, DenseHeads, not_comparable
from .fixed_shape import FixedShape, knows, knows_queries
from .head_family import (
    HEAD_FAMILIES,
    HeadFamily,
    HeadOutput,
    Raw,
    levels,
    numbered,
    twin,
)

MEMORY = 'memory'
COMPARABLE = (
    detectors.DETR,
    detectors.ConditionalDETR,
    detectors.DABDETR,
    detectors.DeformableDETR,
    detectors.DINO,
)
"""Detectors whose decoder treats query i of student and teacher alike, if boxes are the same."""


@HEAD_FAMILIES.register_module()
class DETRHeads(HeadFamily):
    """DETR, Conditional DETR, DAB-DETR, Deformable DETR, DINO and DDQ.

    The transformer has no maps as outputs, so that the raw outputs are its inputs, or the memory of
    its encoder. The semantic loss compares the outputs of all decoder layers query by query. Where
    the encoder selects the queries (two-stage Deformable DETR, DINO), the student gets the boxes
    that the teacher's encoder selected, and the outputs of the encoder's own branches are compared
    at all tokens, as those of an RPN. DDQ suppresses queries after each decoder layer, so that only
    the regression loss applies.
    """

    kinds = (detectors.DetectionTransformer,)
    splits = dict(EncoderSplit=64, ExtractFeatSplit=48)  # the decoder alone is fast enough
    # Boxes relative to the frame, from a sigmoid, are rounded to bfloat16 by up to 1/512 of it.
    # What computes the reference points is outside of the head.
    precise = DETRHead, 'reference_points_fc', 'ref_point_head'
    propagates_outputs = False
    dense_head = None

    @property
    def encoder_modules(self) -> Sequence[str]:
        known = detectors.DETR.forward_encoder, detectors.DeformableDETR.forward_encoder
        # Grounding DINO's encoder reads a text, too.
        plain = type(self.detector).forward_encoder in known
        return ('positional_encoding', 'encoder') if plain else ()

    def memory(self, inputs: Sequence[Tensor], samples: SampleList) -> tuple[Tensor, ...]:
        encoding, _ = self.detector.pre_transformer(inputs, samples)
        memory = self.detector.forward_encoder(**encoding)['memory']
        used = inputs if 'spatial_shapes' in encoding else inputs[-1:]
        sizes = [level.shape[-2:] for level in used]
        parts = memory.split([height * width for height, width in sizes], 1)
        maps = (part.unflatten(1, size) for part, size in zip(parts, sizes, strict=True))
        return tuple(level.permute(0, 3, 1, 2) for level in maps)  # without a copy

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return numbered(ROI_INPUTS, inputs)

    def detector_on_raw(self, raw: Raw) -> nn.Module:
        memory = levels(MEMORY, raw)
        if not memory:
            return self.detector_on(levels(ROI_INPUTS, raw))

        def forward_encoder(
            feat: Tensor, feat_mask: Tensor | None = None, **others: Tensor
        ) -> dict:
            found = dict(memory=feat)  # the maps, flattened by pre_transformer
            if 'spatial_shapes' in others:
                found |= dict(memory_mask=feat_mask, spatial_shapes=others['spatial_shapes'])
            return found

        replaced = dict(extract_feat=lambda *_, **__: memory, forward_encoder=forward_encoder)
        if isinstance(self.detector, detectors.DeformableDETR):
            # Only the encoder reads the positions, so that those of one cell are enough.
            cell = memory[0][..., 0, :1]
            own = self.detector.positional_encoding
            replaced['positional_encoding'] = twin(own, forward=lambda *_, **__: cell)
        return twin(self.detector, **replaced)

    def fixed_shape(self, detector: nn.Module, raw: Raw, geometry: Tensor) -> Tensor | None:
        """Run the transformer and the selection of its queries, for frames without padding."""
        head, outputs = detector.bbox_head, []
        if not (knows(detector, detectors.DetectionTransformer.predict) and knows_queries(head)):
            return None
        shape = dict(img_shape=(1, 1), batch_input_shape=(1, 1))
        samples = [DetDataSample(metainfo=shape) for _ in geometry]
        detector = self.detector_on_raw(raw)
        found = detector.forward_transformer(detector.extract_feat(None), samples)
        head = twin(head, predict_by_feat=lambda *layers, **_: outputs.extend(layers))
        head.predict(**found, batch_data_samples=samples)
        return FixedShape(geometry).queries(head, *(layers[-1] for layers in outputs))

    def fits(self, sample: DetDataSample) -> bool:
        return tuple(sample.img_shape[:2]) == tuple(sample.batch_input_shape)

    @property
    def _selects(self) -> bool:
        """Whether the encoder selects the queries; otherwise they are weights."""
        return getattr(self.detector, 'as_two_stage', False)

    def proposals(
        self, raw: Raw, samples: SampleList, test_cfg: dict | None = None, limit: int | None = None
    ) -> list | None:
        """Return the boxes that the encoder selected, (cx, cy, w, h) relative to the frame."""
        if not self._selects:
            return None
        if limit is not None:
            raise TypeError(
                f'proposals_per_image={limit}: the queries of {self.name} attend to each other, so '
                'that all are compared; leave it out'
            )
        detector = self.detector_on_raw(raw)
        encoding, _ = detector.pre_transformer(detector.extract_feat(None), samples)
        encoded = detector.forward_encoder(**encoding)
        if isinstance(detector, detectors.DINO):
            encoded['batch_data_samples'] = samples
        boxes = detector.pre_decoder(**encoded)[0]['reference_points']
        return [InstanceData(references=own) for own in boxes]

    def head_outputs(
        self, raw: Raw, samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        if type(self.detector) not in COMPARABLE:
            raise not_comparable(self.detector)
        detector, head = self.detector_on_raw(raw), self.detector.bbox_head
        encoding, decoding = detector.pre_transformer(detector.extract_feat(None), samples)
        encoded = detector.forward_encoder(**encoding)
        outputs = []
        if self._selects:
            outputs = self._encoder_outputs(encoded)
            boxes = torch.stack([own.references for own in proposals])
            decoding |= self._queries(boxes) | dict(memory=encoded['memory'])
        else:
            decoding |= detector.pre_decoder(**encoded)[0]
        # (decoder layers, N, queries, ...), boxes (cx, cy, w, h) relative to the frame
        found = (output.flatten(0, 2) for output in head(**detector.forward_decoder(**decoding)))
        return outputs + _compared(*found, softmax=not head.loss_cls.use_sigmoid)

    def _queries(self, boxes: Tensor) -> dict[str, Tensor]:
        """Return the decoder's queries at boxes (N, queries, 4), as ``pre_decoder`` does."""
        detector = self.detector
        if isinstance(detector, detectors.DINO):  # their content is a weight
            content = detector.query_embedding.weight.expand(len(boxes), -1, -1)
            return dict(query=content, reference_points=boxes, dn_mask=None)
        embedded = detector.get_proposal_pos_embed(torch.special.logit(boxes, 1e-5))
        embedded = detector.pos_trans_norm(detector.pos_trans_fc(embedded))
        position, content = embedded.chunk(2, -1)
        return dict(query=content, query_pos=position, reference_points=boxes)

    def _encoder_outputs(self, encoded: dict[str, Tensor]) -> list[HeadOutput]:
        """Return the scores and boxes from which the encoder selects, of all tokens."""
        head, last = self.detector.bbox_head, self.detector.decoder.num_layers
        tokens, anchors = self.detector.gen_encoder_output_proposals(**encoded)
        logits = head.cls_branches[last](tokens)
        boxes = (head.reg_branches[last](tokens) + anchors).sigmoid()
        return _compared(logits.flatten(0, 1), boxes.flatten(0, 1), prefix='enc_')


@HEAD_FAMILIES.register_module()
class MaskFormerHeads(DenseHeads):
    """MaskFormer and Mask2Former that predict instances; the encoder is in their pixel decoder.

    The memory consists of the maps that masks are products with, and of those that the queries
    attend to.
    """

    priority = 1
    splits = DETRHeads.splits
    refused = {}
    propagates_outputs = False
    encoder_modules = ('panoptic_head.pixel_decoder',)

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        known = isinstance(detector, detectors.MaskFormer)
        return known and (detector.test_cfg or {}).get('instance_on', False)

    @property
    def _has_levels(self) -> bool:
        return isinstance(self.detector, detectors.Mask2Former)

    def memory(self, inputs: Sequence[Tensor], samples: SampleList) -> tuple[Tensor, ...]:
        masked = [] if self._has_levels else [[sample.metainfo for sample in samples]]
        masks, memory = self.detector.panoptic_head.pixel_decoder(inputs, *masked)
        return (masks, *memory) if self._has_levels else (masks, memory)

    def detector_on_raw(self, raw: Raw) -> nn.Module:
        masks, *memory = levels(MEMORY, raw)
        found = masks, memory if self._has_levels else memory[0]
        head = self.detector.panoptic_head
        head = twin(head, pixel_decoder=twin(head.pixel_decoder, forward=lambda *_: found))
        return twin(self.detector, extract_feat=lambda *_, **__: memory[-1:], panoptic_head=head)


def _compared(logits: Tensor, boxes: Tensor, **settings: bool | str) -> list[HeadOutput]:
    unit = CENTER * boxes.detach()[:, 2:].clamp(min=0.01).repeat(1, 2)
    return weighted(logits, HeadOutput('box', 'offsets', boxes, unit), **settings)
