"""Families of heads: all that depends on the kind of detector which a spatial module holds."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from mmdet.models import detectors
from mmdet.models.mot import BaseMOTModel
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.mask import mask2bbox
from mmengine.config import Config, ConfigDict
from mmengine.registry import Registry
from torch import Tensor, nn

from semidff.models.precision import CONTIGUOUS, PRECISE

REGRESSION_ONLY = 'Only the regression loss applies (objectives=[dict(type="FeatureRegression")])'
HEAD_FAMILIES = Registry('head family', locations=['semidff.models'])
Raw = Mapping[str, Tensor]
Inputs = tuple[Tensor, ...] | dict[str, Tensor]
_MERGED: dict[str, ConfigDict] = {}  # test settings, of which a program has few


class HeadOutput(NamedTuple):
    """One output of the heads ahead of decoding, as the semantic loss compares it.

    Attributes:
        name: ``cls``, ``box`` and ``quality`` of a single-stage detector; ``rpn_cls``, ``rpn_box``,
            ``roi_cls``, ``roi_box`` and ``roi_mask`` of a two-stage one, with the stage of a
            cascade: ``roi_cls_0``; ``seg`` of a segmentation network.
        kind: ``softmax``, logits of a distribution over the last dimension; ``sigmoid``,
            independent binary logits; or ``offsets``, box outputs.
        values: (R, D), one row per anchor, point, query, RoI or pixel of the whole batch.
        unit: What the offsets are divided by before they are compared, a number or (R, D). The
            teacher's is used.
        weight: Weights of the rows in the loss, a number or (R,), None for their mean. The
            teacher's is used.
        role: What it is for the loss: ``attention``, scores of a dense head; ``classes``, scores of
            RoIs; ``boxes``, also masks; or ``roi_boxes``.
    """

    name: str
    kind: str
    values: Tensor
    unit: Tensor | float = 1.0
    weight: Tensor | None = None
    role: str = 'attention'


class HeadFamily(ABC):
    """Adapter for the heads of one kind of detector.

    Raw outputs are the maps ahead of post-processing. They have a fixed shape and come from
    operators that every runtime has; proposals, RoIs and NMS follow them.
    """

    kinds: tuple[type, ...] = ()  # of detectors, or of their bbox_head, that the family handles
    # Of the families that handle a detector, that of the highest priority adapts it; of equal ones
    # the last registered.
    priority = 1
    prediction = 'pred_instances'  # field of the data samples
    # Recommended split points, the most accurate first, with the width of the temporal module's
    # correction, and the width of its network on the current frame.
    splits: Mapping[str, int] = dict(OutputSplit=64, TowerSplit=48, ExtractFeatSplit=48)
    current_width = 64
    # Modules, some by name, that run in full precision; modules that need contiguous inputs. In any
    # detector.
    precise: Collection[type[nn.Module] | str] = ()
    contiguous: Collection[type[nn.Module]] = ()
    propagates_outputs = True  # as maps that can be warped: offsets from cells, not coordinates
    head_name = 'bbox_head'  # that reads the feature maps
    output_modules: Sequence[str] = ()  # dotted names of what computes the raw outputs
    towers: Sequence[str] = ()  # parallel ones in the head, which only its last convolutions follow
    encoder_modules: Sequence[str] = ()  # dotted names of what computes the memory

    # Detectors that can be no spatial module, and those that cannot be trained with labels, with
    # the reason.
    refused: Mapping[type, str] = {
        detectors.FastRCNN: 'needs proposals from a file: give a detector with an RPN',
        detectors.SemiBaseDetector: 'holds two detectors: give its inner one, model.detector',
        detectors.TwoStagePanopticSegmentor: 'predicts panoptic segmentation: give a detector',
        detectors.MaskFormer: 'predicts panoptic segmentation: set test_cfg.instance_on',
        detectors.CLRNet: 'predicts lanes: give a detector of objects',
        BaseMOTModel: 'tracks objects in several frames: give an image detector',
    }
    refused_with_labels: Mapping[type, str] = {
        detectors.TridentFasterRCNN: 'computes its losses on three branches, of which one is '
        'propagated: train it as an image detector, then distill it (model.type=SemiDFF)',
    }

    def __init_subclass__(cls) -> None:
        PRECISE.update(cls.precise)
        CONTIGUOUS.update(cls.contiguous)

    def __init__(self, detector: nn.Module) -> None:
        self.detector = detector
        self.kept: dict = {}  # tensors of all frames; a captured graph must hold them, too

    def check(self, with_labels: bool = False) -> None:
        """Raise a TypeError if the detector cannot be used, or be trained with labels."""
        refused = self.refused_with_labels if with_labels else self.refused
        for kind, reason in refused.items():
            if isinstance(self.detector, kind):
                raise TypeError(f'{type(self.detector).__name__} {reason}')

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        """Return whether the family can adapt a detector."""
        head = getattr(detector, 'bbox_head', None)
        return isinstance(detector, cls.kinds) or isinstance(head, cls.kinds)

    @property
    def dense_head(self) -> nn.Module | None:
        """The head that reads the feature maps, None if there is no such head."""
        return getattr(self.detector, self.head_name, None)

    @property
    def name(self) -> str:
        """Classes of the detector and of its head."""
        head = self.dense_head or getattr(self.detector, 'bbox_head', None)
        return type(self.detector).__name__ + (f' with {type(head).__name__}' if head else '')

    @property
    def has_plain_features(self) -> bool:
        """Whether ``extract_feat`` is the backbone, followed by the neck if there is one."""
        kinds = detectors.SingleStageDetector, detectors.TwoStageDetector
        return type(self.detector).extract_feat in [kind.extract_feat for kind in kinds]

    def memory(self, inputs: Sequence[Tensor], samples: SampleList) -> tuple[Tensor, ...]:
        """Map the inputs of a transformer to the output of its encoder, one map per level.

        ``samples`` tell which part of the inputs is padding.
        """
        raise NotImplementedError

    @abstractmethod
    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Map the heads' inputs (N, C_l, H_l, W_l) to what the post-processing reads."""

    @abstractmethod
    def detector_on_raw(self, raw: Raw) -> nn.Module:
        """Return a twin of the detector that uses given :meth:`raw_outputs` instead of images."""

    def detector_on(self, inputs: Inputs) -> nn.Module:
        """Return a twin that uses inputs of the heads, or raw outputs, instead of images."""
        if isinstance(inputs, dict):
            return self.detector_on_raw(inputs)
        return twin(self.detector, extract_feat=lambda *_, **__: inputs)

    def predict(self, detector: nn.Module, inputs: Tensor, samples: SampleList) -> SampleList:
        """Predict with a twin that uses given maps; results are in pixels of the original image.

        Args:
            detector: Result of :meth:`detector_on` or :meth:`detector_on_raw`.
            inputs: Any tensor of the batch on its device, in place of the images.
        """
        results = detector.predict(inputs, samples, rescale=True)
        for found in (result.get(self.prediction) for result in results):
            if 'masks' in found and len(found) and not found.bboxes.any():
                # SOLO finds masks only, and mmdet returns zeros as their boxes.
                found.bboxes = mask2bbox(found.masks).to(found.bboxes)
        return results

    def fixed_shape(self, detector: nn.Module, raw: Raw, geometry: Tensor) -> Tensor | None:
        """See :meth:`.SpatialModule.fixed_shape`; ``detector`` has the test settings."""
        return None

    def classes_of(self, name: str) -> int:
        """Return the number of classes that a raw output scores independently, or 1."""
        return 1

    def fits(self, sample: DetDataSample) -> bool:
        """Return whether :meth:`fixed_shape` holds for a frame, apart from its own flag."""
        return True

    def loss(self, detector: nn.Module, inputs: Tensor, samples: SampleList) -> dict:
        return detector.loss(inputs, samples)

    def proposals(
        self, raw: Raw, samples: SampleList, test_cfg: dict | None = None, limit: int | None = None
    ) -> list | None:
        """Return each image's ``limit`` best proposals; None for a single-stage detector."""
        return None

    @abstractmethod
    def head_outputs(
        self, raw: Raw, samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        """Return the outputs that the semantic loss compares.

        ``proposals`` are the *teacher's*, so that student and teacher pool the same RoIs.
        """


def head_family(detector: nn.Module) -> HeadFamily:
    """Return the adapter of a detector's heads."""
    families = reversed(HEAD_FAMILIES.module_dict.values())
    handling = (family for family in families if family.handles(detector))
    return max(handling, key=lambda family: family.priority)(detector)


def twin(module: nn.Module, **replacements: Any) -> nn.Module:
    """Return a shallow copy of a module with other submodules, methods or attributes.

    Everything else is shared, the weights too. A twin is short-lived: it does not follow changes of
    the module's mode.
    """
    if hasattr(module, 'get_base'):
        # Where submodules are shared (RTMDet), PyTorch's exporter traces proxies, which cannot be
        # copied.
        module = module.get_base()
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    copied._compiled_call_impl = None  # a compiled module would run its own forward, not the twin's
    for name, value in vars(module).items():
        if isinstance(value, partial) and value.args[:1] == (module,):
            setattr(copied, name, partial(value.func, copied))
    for name, value in replacements.items():
        setattr(copied, name, value)
    return copied


def with_test_cfg(detector: nn.Module, test_cfg: dict | None) -> nn.Module:
    """Return a twin of an mmdet detector with other test settings, nested as its ``test_cfg``."""
    if not test_cfg:
        return detector
    names = dict.fromkeys(('bbox_head', 'mask_head', 'panoptic_fusion_head'), test_cfg)
    if hasattr(detector, 'roi_head'):
        names = dict(rpn_head=test_cfg.get('rpn'), roi_head=test_cfg.get('rcnn'))
    heads = {}
    for name, changes in names.items():
        head = getattr(detector, name, None)
        if changes and getattr(head, 'test_cfg', None):
            settings = repr((head.test_cfg, changes))  # their content, since both may change
            if settings not in _MERGED:
                # As configs that inherit each other are merged; ``_delete_=True`` replaces some.
                config = Config(dict(test_cfg=copy.deepcopy(head.test_cfg)))
                config.merge_from_dict(dict(test_cfg=copy.deepcopy(changes)))
                _MERGED[settings] = config.test_cfg
            heads[name] = twin(head, test_cfg=_MERGED[settings])
    return twin(detector, **heads)


def numbered(name: str, maps: Iterable[Tensor]) -> dict[str, Tensor]:
    """Name the levels ``name_0``, ``name_1``, ..."""
    return {f'{name}_{index}': level for index, level in enumerate(maps)}


def levels(name: str, maps: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return the levels that :func:`numbered` named, from a mapping that may hold more."""
    found = []
    while (key := f'{name}_{len(found)}') in maps:
        found.append(maps[key])
    return tuple(found)


def rows(maps: Iterable[Tensor], columns: int) -> Tensor:
    """Concatenate maps (N, A * columns, H_l, W_l) to a row per anchor, in mmdet's order."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, columns) for level in maps])
