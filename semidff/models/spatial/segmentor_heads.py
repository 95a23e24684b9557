"""Segmentation networks of mmsegmentation, which is an optional dependency."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmdet.structures import SampleList
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from torch import Tensor, nn

from .head_family import HEAD_FAMILIES, REGRESSION_ONLY, HeadFamily, HeadOutput, Raw, rows, twin

LOGITS = 'seg_logits'


@HEAD_FAMILIES.register_module()
class SegmentorHeads(HeadFamily):
    """``EncoderDecoder`` models: a decode head, and auxiliary heads, which are for training only.

    The raw output is the map of logits at the resolution of the decode head. The semantic loss
    compares its pixels.
    """

    prediction = 'pred_sem_seg'
    output_modules = ('decode_head',)

    def __init__(self, detector: nn.Module) -> None:
        super().__init__(detector)
        if (detector.test_cfg or {}).get('mode', 'whole') != 'whole':
            raise ValueError(
                f"test_cfg of {type(detector).__name__} has mode='slide', but features are "
                "propagated for whole frames; set test_cfg=dict(mode='whole')"
            )

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return hasattr(detector, 'decode_head')

    @property
    def dense_head(self) -> nn.Module | None:
        head = self.detector.decode_head
        return None if isinstance(head, nn.ModuleList) else head  # a cascade has several

    @property
    def has_plain_features(self) -> bool:
        from mmseg.models.segmentors import EncoderDecoder

        return type(self.detector).extract_feat is EncoderDecoder.extract_feat

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        from mmseg.models.decode_heads.decode_head import BaseDecodeHead

        head = self.dense_head
        if not isinstance(head, BaseDecodeHead) or type(head).predict is not BaseDecodeHead.predict:
            raise TypeError(
                f'{self.name} does not predict from one map of logits per pixel. {REGRESSION_ONLY}'
            )
        return {LOGITS: head(inputs)}

    def detector_on_raw(self, raw: Raw) -> nn.Module:
        head = twin(self.dense_head, forward=lambda *_: raw[LOGITS])
        return twin(
            self.detector, extract_feat=lambda *_: (), decode_head=head, auxiliary_head=None
        )

    def predict(self, detector: nn.Module, inputs: Tensor, samples: SampleList) -> SampleList:
        for sample in samples:
            sample.set_metainfo(dict(flip=False))  # mmsegmentation would mirror the logits
            if 'batch_input_shape' in sample:
                size = tuple(sample.batch_input_shape)
                sample.set_metainfo(dict(pad_shape=size, padding_size=_padding(size, sample)))
        test_cfg = ConfigDict(dict(detector.test_cfg or {}, mode='whole'))
        results = _called(twin(detector, test_cfg=test_cfg)).predict(inputs, samples)
        for result in results:
            del result.seg_logits  # in full resolution: 160 MB for a frame of Cityscapes
            # numbers of a type that can be an index, also those of heads with a single logit
            result.pred_sem_seg = PixelData(data=result.pred_sem_seg.data.long())
        return results

    def loss(self, detector: nn.Module, inputs: Tensor, samples: SampleList) -> dict:
        for sample in samples:
            labels = sample.gt_sem_seg.data
            padding = _padding(sample.batch_input_shape, sample)
            if any(padding) and labels.shape[-2:] != tuple(sample.batch_input_shape):
                head = detector.decode_head
                value = (head[-1] if isinstance(head, nn.ModuleList) else head).ignore_index
                sample.gt_sem_seg = PixelData(data=F.pad(labels, padding, value=value))
        return _called(detector).loss(inputs, samples)

    def head_outputs(
        self, raw: Raw, samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        logits = raw[LOGITS]
        classes = logits.shape[1]
        kind = 'softmax' if classes > 1 else 'sigmoid'
        return [HeadOutput('seg', kind, rows([logits], classes))]


def _padding(size: Sequence[int], sample: object) -> tuple[int, int, int, int]:
    height, width = sample.img_shape[:2]
    return 0, size[1] - width, 0, size[0] - height


def _called(detector: nn.Module) -> nn.Module:
    """Return a twin whose decode head runs with its hooks; mmsegmentation calls ``forward``."""
    head = detector.decode_head
    if isinstance(head, nn.ModuleList):
        return detector
    return twin(detector, decode_head=twin(head, forward=head.__call__))
