"""What the temporal module makes of a pair of frames, for pictures (semi-DFF Eq. 1)."""

import copy
from typing import NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from semidff.inference.methods.base import MethodError
from semidff.models.spatial import SpatialModule
from semidff.models.video_detector import VideoDetector

from .color_maps import channel_mean, feature_limits
from .frames import covered_share


class PairView(NamedTuple):
    """What there is to see of a key frame and a current frame.

    Maps cover the network's input, padding included; means are over the cells that the frame covers.

    Attributes:
        frames (ndarray): Key and current frame, (2, H, W, 3) uint8, BGR.
        flow (Tensor | None): Feature flow (2, h, w) in cells of the flow network's stride; None of a
            temporal module that has no flow.
        scale (Tensor | None): Scale field (C, h, w).
        key_features (Tensor): (C, h, w), of one level, before the warp.
        propagated (Tensor): After warp and scale, likewise.
        target (Tensor): What the feature network makes of the current frame itself, likewise: the teacher's.
        key (InstanceData): Detections on the key frame, in the pixels of ``frames``.
        student (InstanceData): Detections on the propagated features.
        teacher (InstanceData): Detections on the current frame's own features.
        cell (tuple[float, float]): Pixels of ``frames`` in a cell of the flow, x and y.
        covered (tuple[float, float]): Share of the maps' rows and columns that the frame covers.
    """

    frames: np.ndarray
    flow: Tensor | None
    scale: Tensor | None
    key_features: Tensor
    propagated: Tensor
    target: Tensor
    key: InstanceData
    student: InstanceData
    teacher: InstanceData
    cell: tuple[float, float] = (16.0, 16.0)
    covered: tuple[float, float] = (1.0, 1.0)

    def visible(self, field: Tensor) -> Tensor:
        """The cells (..., h, w) of a map that the frame covers, at least in part."""
        rows, columns = (
            int(np.ceil(share * size - 1e-6))
            for share, size in zip(self.covered, field.shape[-2:], strict=True)
        )
        return field[..., :rows, :columns].detach().float().cpu()

    def pixel_flow(self) -> Tensor:
        """The flow in pixels of ``frames``."""
        return self.flow * self.flow.new_tensor(self.cell)[:, None, None]

    def mean_motion(self) -> float:
        """Mean length of the flow in pixels of ``frames``."""
        return float(self.visible(self.pixel_flow()).norm(dim=0).mean())

    def mean_scaling(self) -> float:
        """Mean distance of the scale field from one, over cells and channels."""
        return float((self.visible(self.scale) - 1).abs().mean())

    def feature_limits(self) -> tuple[float, float]:
        """Values at the ends of the colors that the three feature maps share."""
        maps = (self.key_features, self.propagated, self.target)
        return feature_limits(*(channel_mean(self.visible(features)) for features in maps))

    def feature_error(self, features: Tensor) -> float:
        """Distance of features to the teacher's over the length of the latter: 0 is no error."""
        target = self.visible(self.target)
        return float((self.visible(features) - target).norm() / target.norm().clamp(min=1e-12))

    def error_map(self, features: Tensor) -> Tensor:
        """Where the error of features is, (h, w); the root of its mean square is :meth:`feature_error`."""
        typical = self.visible(self.target).square().sum(0).mean().sqrt().clamp(min=1e-12)
        difference = features.detach().float().cpu() - self.target.detach().float().cpu()
        return difference.norm(dim=0) / typical


@torch.no_grad()
def view_pair(
    model: VideoDetector,
    key: Tensor,
    current: Tensor,
    sample: DetDataSample,
    frames: np.ndarray,
    teacher: SpatialModule | None = None,
    level: int = 0,
) -> PairView:
    """Lets a video detector propagate from one frame to another, and look at the other one, too.

    Args:
        model (VideoDetector): In evaluation mode.
        key (Tensor): The preprocessed key frame, (1, 3, H, W).
        current (Tensor): The current frame, likewise.
        sample (DetDataSample): The current frame's, after preprocessing; it is not changed.
        frames (ndarray): Both frames as they are shown, in the size that the sample's ``ori_shape`` says.
        teacher (SpatialModule | None): Looks at the current frame itself; by default the detector's own.
        level (int): Which level of the features is shown.

    Raises:
        MethodError: If the model has no temporal module.
        ValueError: If the frames differ in size, or there is no such level.
    """
    _check(model, key, current)
    teacher = teacher or model.spatial
    key_features, target = model.spatial.features(key), teacher.features(current)
    if not 0 <= level < len(target):
        raise ValueError(
            f'level is {level}; the feature network gives {len(target)}, choose 0 to {len(target) - 1}'
        )
    propagated = model.propagate(key, current, key_features, [sample])
    flow, scale = _fields(model.temporal, key, current)
    stride = getattr(getattr(model.temporal, 'flow_network', None), 'stride', 16)

    def boxes(module: SpatialModule, features: tuple[Tensor, ...]) -> InstanceData:
        # predict() writes into its sample, so each gets its own
        return module.predict(features, [copy.deepcopy(sample)])[0].pred_instances.cpu()

    return PairView(
        frames=frames,
        flow=None if flow is None else flow[0],
        scale=None if scale is None else scale[0],
        key_features=key_features[level][0],
        propagated=propagated[level][0],
        target=target[level][0],
        key=boxes(model.spatial, key_features),
        student=boxes(model.spatial, propagated),
        teacher=boxes(teacher, target),
        cell=tuple(stride / factor for factor in sample.get('scale_factor', (1.0, 1.0))),
        covered=covered_share(sample),
    )


def _fields(
    temporal: nn.Module, key: Tensor, current: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Feature flow and scale field, where the temporal module has such things."""
    if not hasattr(temporal, 'flow_and_scale'):
        return None, None
    return temporal.flow_and_scale(temporal.prepare(key), temporal.prepare(current))


def _check(model: VideoDetector, key: Tensor, current: Tensor) -> None:
    if not model.has_temporal:
        raise MethodError(
            'this model has no temporal module, so it propagates nothing: give a stage-two config'
        )
    if key.shape != current.shape:
        raise ValueError(
            f'the key frame is {tuple(key.shape[-2:])}, the current frame {tuple(current.shape[-2:])}; '
            'features are propagated between frames of one size: choose another key frame'
        )
