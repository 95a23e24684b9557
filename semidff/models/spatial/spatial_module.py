"""The spatial module: a detector or segmentation network, cut into feature network and task network (DFF section 3)."""

import copy
import math
from collections.abc import Mapping, Sequence

from mmdet.models.detectors import (
    FastRCNN,
    MaskFormer,
    SemiBaseDetector,
    TwoStagePanopticSegmentor,
)
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import SampleList
from mmengine.model import BaseModule
from torch import Tensor, nn

from semidff.models.precision import keep_boxes_precise
from semidff.utils.setting_checks import import_extras

from .head_family import HeadOutput, head_family
from .probe import probe
from .split import Split
from .twin import with_test_cfg


class SpatialModule(BaseModule):
    """Adapter that runs a detector of mmdet, or a network of mmsegmentation, on features instead of images.

    Nothing outside this class knows what kind of network it holds, nor where it is cut. The temporal module
    propagates ``features``, the output of :meth:`features`: the maps at the split point.

    Args:
        detector: An mmdet detector, an ``EncoderDecoder`` of mmsegmentation, or its config.
        split: Where N_feat ends, a :class:`~semidff.models.spatial.split.Split` or its config; None cuts ahead of the
            heads. The state dict is the same at all splits.

    Raises:
        TypeError: If the detector needs proposals from elsewhere, is a semi-supervised one, predicts panoptic
            segmentation alone, or cannot be cut at the split point.
    """

    def __init__(self, detector: dict | nn.Module, split: dict | Split | None = None) -> None:
        super().__init__()
        if not isinstance(detector, nn.Module):
            import_extras(detector)
            kind = detector['type']
            if isinstance(kind, str) and '.' in kind:
                detector = {**detector, '_scope_': kind.partition('.')[0]}
            detector = MODELS.build(detector)
        _check_kind(detector)
        self.detector = detector
        if not isinstance(split, Split):
            split = TASK_UTILS.build(split or dict(type='ExtractFeatSplit'))
        split.check(self.detector)
        keep_boxes_precise(self.detector)
        self.split = split
        self._heads = head_family(self.detector)

    @property
    def feature_network(self) -> list[nn.Module]:
        """Modules of N_feat."""
        names = self.split.feature_names(self.detector)
        return [self.detector.get_submodule(name) for name in names]

    @property
    def task_network(self) -> dict[str, nn.Module]:
        """Modules of N_task by dotted name."""
        return self.split.task_modules(self.detector)

    @property
    def prediction(self) -> str:
        """Field of the data samples that holds the predictions: ``pred_instances`` or ``pred_sem_seg``."""
        return self._heads.prediction

    @property
    def dense_head(self) -> nn.Module | None:
        """The head that reads the feature maps, None if there is no such head."""
        return self._heads.dense_head

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run N_feat: map images (N, 3, H, W) to one map (N, C_l, H_l, W_l) per level."""
        return self.split.features(self.detector, images)

    def probe_levels(self) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Find the channels and the stride of each feature level by running N_feat on an image."""
        size, maps = probe(self, self.features)
        channels = tuple(level.shape[1] for level in maps)
        return channels, tuple(feature_stride(size, level.shape[-2:]) for level in maps)

    def predict(
        self, features: Sequence[Tensor], samples: SampleList, test_cfg: dict | None = None
    ) -> SampleList:
        """Run N_task with post-processing; the :attr:`prediction` is in pixels of the original image.

        Args:
            features: Features, own or propagated ones.
            samples: Data samples of the N frames.
            test_cfg: Settings that replace some of the detector's ``test_cfg``.
        """
        detector = self.split.given(self.detector, features)
        return self._predict(detector, features[0], samples, test_cfg)

    def raw_outputs(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Run N_task up to the post-processing; see :meth:`HeadFamily.raw_outputs`."""
        return self.split.raw_outputs(self.detector, features)

    def predict_raw(
        self, raw: Mapping[str, Tensor], samples: SampleList, test_cfg: dict | None = None
    ) -> SampleList:
        """Run the post-processing alone, on :meth:`raw_outputs`; :meth:`predict` is both."""
        detector = self._heads.given_raw_outputs(raw)
        return self._predict(detector, next(iter(raw.values())), samples, test_cfg)

    def _predict(
        self, detector: nn.Module, inputs: Tensor, samples: SampleList, test_cfg: dict | None
    ) -> SampleList:
        if test_cfg:
            detector = with_test_cfg(detector, test_cfg)
        return self._heads.predict(detector, inputs, samples)

    def loss(self, features: Sequence[Tensor], samples: SampleList) -> dict:
        """Compute the detector's own supervised losses on features (semi-DFF Eqs. 2 and 3)."""
        detector = self.split.given(self.detector, features)
        return self._heads.loss(detector, features[0], samples)

    def proposals(
        self,
        raw: Mapping[str, Tensor],
        samples: SampleList,
        test_cfg: dict | None = None,
        limit: int | None = None,
    ) -> list | None:
        """Return each image's proposals, None for a single-stage detector; see :meth:`HeadFamily.proposals`.

        ``test_cfg`` as in :meth:`predict`.
        """
        heads = head_family(with_test_cfg(self.detector, test_cfg)) if test_cfg else self._heads
        return heads.proposals(raw, samples, limit)

    def head_outputs(
        self, raw: Mapping[str, Tensor], samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        """Return the outputs that the semantic loss compares; see :meth:`HeadFamily.head_outputs`."""
        return self._heads.head_outputs(raw, samples, proposals)

    def with_own_task_network(self, own_features: bool = False) -> 'SpatialModule':
        """Return a twin that has a copy of the task network and *shares* the feature network with this module.

        Weights of neither, such as the level embedding of Deformable DETR, are always shared.

        Args:
            own_features: Whether to copy the feature network, too.
        """
        task, features = [*self.task_network.values()], self.feature_network
        memo: dict[int, object] = (
            {} if own_features else {id(module): module for module in features}
        )
        copied = [*task, *features] if own_features else task
        own = {id(p) for module in copied for p in module.parameters()}
        memo |= {id(p): p for p in self.detector.parameters() if id(p) not in own}
        return SpatialModule(copy.deepcopy(self.detector, memo), self.split)


def feature_stride(image: Sequence[int], level: Sequence[int]) -> float:
    """Return the stride of a feature level from the sizes (height, width) of the network's input and of the level.

    It is a power of two if one fits, since the last cell of a row is seldom a whole one: 1000 pixels in 63 cells have
    stride 16, not 15.9, and 320 pixels in 2 cells of NAS-FPN, which rounds down, stride 128. Otherwise it is the only
    whole number that fits (a ViT with patches of 14 pixels), or else the ratio of the sizes (levels of SSD behind
    convolutions without padding).
    """
    ratios = [side / cells for side, cells in zip(image, level, strict=True)]
    powers = {2 ** math.ceil(math.log2(max(ratios))), 2 ** math.floor(math.log2(min(ratios)))}
    others = range(1, math.ceil(2 * max(ratios)))
    for strides, rounded in (
        (powers, math.ceil),
        (powers, math.floor),
        (others, math.floor),
        (others, math.ceil),
    ):
        found = [s for s in strides if [rounded(side / s) for side in image] == list(level)]
        if len(found) == 1:
            return found[0]
    return max(ratios)


def _check_kind(detector: nn.Module) -> None:
    """Refuse models that cannot detect on the features of a frame.

    Raises:
        TypeError: With the remedy.
    """
    name = type(detector).__name__
    if isinstance(detector, FastRCNN):
        raise TypeError(f'{name} needs proposals from a file: give a detector with an RPN')
    if isinstance(detector, SemiBaseDetector):
        raise TypeError(
            f'{name} holds a student and a teacher and is no detector itself: give its inner detector, model.detector '
            'of its config'
        )
    if isinstance(detector, TwoStagePanopticSegmentor) or (
        isinstance(detector, MaskFormer) and not (detector.test_cfg or {}).get('instance_on')
    ):
        raise TypeError(
            f'{name} predicts panoptic segmentation alone: give a detector, or a model that predicts instances '
            '(test_cfg.instance_on of MaskFormer and Mask2Former)'
        )
