"""The spatial module: a detector, cut into feature network and task network (DFF section 3)."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures import SampleList
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from semidff.checkpoints.building import build_detector, undisturbed
from semidff.models.precision import keep_boxes_precise

from .head_family import HeadOutput, head_family, twin, with_test_cfg
from .split import Split

_PROBED_SIZES = (256, 320), (512, 640)


class SpatialModule(BaseModule):
    """Adapter that runs a detector of mmdet, or a network of mmsegmentation, on features.

    Nothing outside this class knows what kind of network it holds, nor where it is cut. The
    temporal module propagates the output of :meth:`features`, the maps at the split point.

    Args:
        detector: An mmdet detector, an ``EncoderDecoder`` of mmsegmentation, or its config.
        split: Where N_feat ends, a :class:`~semidff.models.spatial.split.Split` or its config; None
            cuts ahead of the heads. The state dict is the same at all splits.
    """

    def __init__(self, detector: dict | nn.Module, split: dict | Split | None = None) -> None:
        super().__init__()
        if not isinstance(detector, nn.Module):
            detector = build_detector(detector)
        self.detector = detector
        self.heads = head_family(detector)
        self.heads.check()
        keep_boxes_precise(detector)
        if not isinstance(split, Split):
            split = TASK_UTILS.build(split or dict(type='ExtractFeatSplit'))
        self.split = split.bound_to(self.heads)
        self.split.check()
        self._levels: tuple | None = None
        if split.needs_probe:
            self.probe_levels()

    @property
    def feature_network(self) -> list[nn.Module]:
        """Modules of N_feat."""
        return [self.detector.get_submodule(name) for name in self.split.feature_names()]

    @property
    def task_network(self) -> dict[str, nn.Module]:
        """Modules of N_task by dotted name."""
        return self.split.task_modules()

    @property
    def prediction(self) -> str:
        """Field of the data samples for predictions: ``pred_instances`` or ``pred_sem_seg``."""
        return self.heads.prediction

    def features(self, images: Tensor, samples: SampleList | None = None) -> tuple[Tensor, ...]:
        """Run N_feat; see :meth:`~semidff.models.spatial.split.Split.features`."""
        return self.split.features(images, samples)

    def probe_levels(self) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Return channels and stride of each feature level, probed once by running N_feat."""
        if self._levels is None:
            size, maps = probe(self, self.split.probe)
            channels = tuple(level.shape[1] for level in maps)
            strides = tuple(feature_stride(size, level.shape[-2:]) for level in maps)
            self._levels = channels, strides
        return self._levels

    def predict(
        self, features: Sequence[Tensor], samples: SampleList, test_cfg: dict | None = None
    ) -> SampleList:
        """Run N_task with post-processing; the :attr:`prediction` is on the host, in image pixels.

        ``test_cfg`` replaces some of the detector's settings.
        """
        heads, inputs = self.split.task_inputs(features)
        detector = with_test_cfg(heads.detector_on(inputs), test_cfg)
        return self._predict(detector, features[0], samples)

    def raw_outputs(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Run N_task up to the post-processing; see :meth:`HeadFamily.raw_outputs`."""
        heads, inputs = self.split.task_inputs(features)
        return inputs if isinstance(inputs, dict) else heads.raw_outputs(inputs)

    def head_outputs(
        self,
        features: Sequence[Tensor],
        samples: SampleList,
        proposals: list | None = None,
        test_cfg: dict | None = None,
        limit: int | None = None,
    ) -> tuple[list[HeadOutput], list | None]:
        """Return the outputs of N_task that the semantic loss compares, and each image's proposals.

        Args:
            proposals: The teacher's proposals, on which the student is compared; without them, the
                best ``limit`` with the test settings are selected. Single-stage detectors have
                None.
        """
        raw = self.raw_outputs(features)
        if proposals is None:
            proposals = self.heads.proposals(raw, samples, test_cfg, limit)
        return self.heads.head_outputs(raw, samples, proposals), proposals

    def predict_raw(
        self, raw: Mapping[str, Tensor], samples: SampleList, test_cfg: dict | None = None
    ) -> SampleList:
        """Run the post-processing alone, on :meth:`raw_outputs`."""
        detector = with_test_cfg(self.heads.detector_on_raw(raw), test_cfg)
        return self._predict(detector, next(iter(raw.values())), samples)

    def fixed_shape(
        self, raw: Mapping[str, Tensor], geometry: Tensor, test_cfg: dict | None = None
    ) -> Tensor | None:
        """Run the post-processing in tensors of fixed shape, which a CUDA graph can hold.

        Args:
            raw: :meth:`raw_outputs` of N frames.
            geometry: Heights and widths of the frames ahead of padding (``img_shape``), and the
                factors by which widths and heights were resized (``scale_factor``), (N, 4). As
                float64, results are mmdet's to the bit.
            test_cfg: As in :meth:`predict`.

        Returns:
            Box in pixels of the original image, score, label and validity of K results, then a row
            of flags, (N, K + 1, 7), for :meth:`finish`. None for detectors whose post-processing is
            another one.
        """
        return self.heads.fixed_shape(with_test_cfg(self.detector, test_cfg), raw, geometry)

    def finish(
        self,
        fixed: Tensor,
        raw: Mapping[str, Tensor],
        samples: SampleList,
        test_cfg: dict | None = None,
    ) -> SampleList:
        """Return the predictions of :meth:`fixed_shape`, on the host, or mmdet's if not exact."""
        exact = zip((fixed[:, -1, 0] > 0).tolist(), map(self.heads.fits, samples), strict=True)
        others = [index for index, flags in enumerate(exact) if not all(flags)]
        for sample, rows in zip(samples, fixed[:, :-1], strict=True):
            boxes, scores, labels, valid = rows[rows[:, 6] > 0].split((4, 1, 1, 1), 1)
            found = dict(bboxes=boxes, scores=scores[:, 0], labels=labels[:, 0].long())
            sample.pred_instances = InstanceData(**found)
        if others:
            own = {name: maps[others] for name, maps in raw.items()}
            self.predict_raw(own, [samples[index] for index in others], test_cfg)
        return samples

    def _predict(self, detector: nn.Module, inputs: Tensor, samples: SampleList) -> SampleList:
        results = self.heads.predict(detector, inputs, samples)
        if inputs.is_cuda:
            for result in results:
                setattr(result, self.prediction, getattr(result, self.prediction).cpu())
        return results

    def loss(self, features: Sequence[Tensor], samples: SampleList) -> dict:
        """Compute the detector's own supervised losses on features (semi-DFF Eqs. 2 and 3)."""
        heads, inputs = self.split.task_inputs(features)
        return self.heads.loss(heads.detector_on(inputs), features[0], samples)

    def with_own_task_network(self, own_features: bool = False) -> 'SpatialModule':
        """Return a twin with a copy of the task network, and of the feature network on request.

        Weights of neither, such as the level embedding of Deformable DETR, are always shared.
        """
        shared = [] if own_features else self.feature_network
        copied = [*self.task_network.values(), *(self.feature_network if own_features else [])]
        own = {id(p) for module in copied for p in module.parameters()}
        memo: dict[int, object] = {id(module): module for module in shared}
        memo |= {id(p): p for p in self.detector.parameters() if id(p) not in own}
        detector = copy.deepcopy(self.detector, memo)
        heads = head_family(detector)
        return twin(self, detector=detector, heads=heads, split=self.split.bound_to(heads))


def probe(model: nn.Module, compute: Callable[[Tensor], Any]) -> tuple[tuple[int, int], Any]:
    """Run a function on random images (1, 3, H, W); return their (H, W) and the result.

    A small size comes first; convolutions without padding, those of SSD512, need a large one.
    """
    parameter = next(model.parameters())
    for size in _PROBED_SIZES:
        try:
            with undisturbed(model):
                torch.manual_seed(0)
                images = torch.rand(1, 3, *size, dtype=parameter.dtype, device='cpu')
                return size, compute(images.to(parameter.device))
        except RuntimeError:
            if size == _PROBED_SIZES[-1]:
                raise
    raise AssertionError


def feature_stride(image: Sequence[int], level: Sequence[int]) -> float:
    """Return a level's stride from the sizes (height, width) of the network's input and the level.

    It is a power of two if one fits: 1000 pixels in 63 cells have stride 16, and 320 pixels in 2
    cells of NAS-FPN, which rounds down, stride 128. Otherwise it is the only whole number that fits
    (a ViT with patches of 14 pixels), or else the ratio of the sizes (levels of SSD behind
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
