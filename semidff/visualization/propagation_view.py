"""Fields, features and detections of a pair of key frame and current frame (semi-DFF Eq. 1)."""

import copy
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import BaseDataElement
from torch import Tensor

from semidff.datasets.video_readers import VideoError, open_stream
from semidff.inference.methods.base import MethodError
from semidff.models.spatial import SpatialModule
from semidff.models.video_detector import VideoDetector

from .panels import covered_share


class PairView(NamedTuple):
    """A propagation from a key frame to a current frame.

    Maps cover the network's input, padding included; means are over the cells that the frame covers.

    Attributes:
        frames (ndarray): Key and current frame, (2, H, W, 3) uint8, BGR.
        flow (Tensor | None): Feature flow (2, h, w) in cells of the flow network's stride; None if the
            temporal module has none.
        scale (Tensor | None): Scale field (C, h, w), likewise.
        key_features (Tensor): Features of the key frame at one level, (C, h, w), before the warp.
        propagated (Tensor): Propagated features, likewise.
        target (Tensor): The teacher's features of the current frame, likewise.
        key (BaseDataElement): Detections or labels on the key frame, in pixels of ``frames``.
        student (BaseDataElement): Those on the propagated features, with the settings of non-key frames.
        teacher (BaseDataElement): Those on the teacher's features.
        cell (tuple[float, float]): Size of a cell of the flow in pixels of ``frames``, x and y.
        covered (tuple[float, float]): Share of the maps' rows and columns that the frame covers.
    """

    frames: np.ndarray
    flow: Tensor | None
    scale: Tensor | None
    key_features: Tensor
    propagated: Tensor
    target: Tensor
    key: BaseDataElement
    student: BaseDataElement
    teacher: BaseDataElement
    cell: tuple[float, float] = (16.0, 16.0)
    covered: tuple[float, float] = (1.0, 1.0)

    def visible(self, field: Tensor) -> Tensor:
        """Return the cells (..., h, w) of a map that the frame covers at least in part."""
        rows, columns = (
            int(np.ceil(share * size - 1e-6))
            for share, size in zip(self.covered, field.shape[-2:], strict=True)
        )
        return field[..., :rows, :columns].detach().float().cpu()

    def pixel_flow(self) -> Tensor:
        """Return the flow in pixels of ``frames``."""
        return self.flow * self.flow.new_tensor(self.cell)[:, None, None]

    def mean_motion(self) -> float:
        """Return the mean length of the flow in pixels of ``frames``."""
        return float(self.visible(self.pixel_flow()).norm(dim=0).mean())

    def mean_scaling(self) -> float:
        """Return the mean deviation of the scale field from one, over cells and channels."""
        return float((self.visible(self.scale) - 1).abs().mean())

    def feature_error(self, features: Tensor) -> float:
        """Return the relative error of features against the teacher's, ‖f̂ - f‖ / ‖f‖."""
        target = self.visible(self.target)
        return float((self.visible(features) - target).norm() / target.norm().clamp(min=1e-12))

    def error_map(self, features: Tensor) -> Tensor:
        """Return the error of each cell, (h, w); its root mean square is :meth:`feature_error`."""
        typical = self.visible(self.target).square().sum(0).mean().sqrt().clamp(min=1e-12)
        difference = features.detach().float().cpu() - self.target.detach().float().cpu()
        return difference.norm(dim=0) / typical


@torch.no_grad()
def view_pair(
    model: VideoDetector,
    key: Tensor,
    current: Tensor,
    sample: DetDataSample,
    frames: Sequence[np.ndarray],
    teacher: SpatialModule | None = None,
    level: int = 0,
) -> PairView:
    """Propagate features from a key frame to a current frame and compare them with the teacher's.

    Args:
        model: In evaluation mode.
        key: The preprocessed key frame, (1, 3, H, W).
        current: The preprocessed current frame, (1, 3, H, W).
        sample: The current frame's, after preprocessing; not modified.
        frames: Both frames for display, in the sample's ``ori_shape``: (2, H, W, 3) uint8, BGR.
        teacher: The detector of the current frame; by default the model's own spatial module.
        level: Level of the features.

    Raises:
        MethodError: The model has no temporal module.
        ValueError: The frames differ in size, or there is no such level.
    """
    if not model.has_temporal:
        raise MethodError(
            'this model has no temporal module to propagate features: give a stage-two config'
        )
    sizes = [image.shape[:2] for image in frames], [tuple(x.shape[-2:]) for x in (key, current)]
    for key_size, size in sizes:
        if key_size != size:
            raise ValueError(
                f'the key frame is {key_size}, the current frame {size}; '
                'features are propagated between frames of one size: choose another key frame'
            )
    teacher = teacher or model.spatial
    with model.running():
        key_features, target = model.spatial.features(key), teacher.features(current)
        if not 0 <= level < len(target):
            raise ValueError(
                f'level is {level}; the feature network gives {len(target)} levels, choose 0 to {len(target) - 1}'
            )
        propagated = model.propagate(key, current, key_features, [sample])
        temporal, flow, scale = model.temporal, None, None
        if hasattr(temporal, 'fields'):
            flow, scale, _ = temporal.fields(temporal.prepare(key), temporal.prepare(current))
        stride = getattr(getattr(temporal, 'flow_network', None), 'stride', 16)

        def predictions(
            module: SpatialModule, features: tuple[Tensor, ...], test_cfg: dict | None = None
        ) -> BaseDataElement:
            # predict() writes into its sample, so each gets a copy
            result = module.predict(features, [copy.deepcopy(sample)], test_cfg)[0]
            return result.get(module.prediction).cpu()

        return PairView(
            frames=np.stack(frames),
            flow=None if flow is None else flow[0],
            scale=None if scale is None else scale[0],
            key_features=key_features[level][0],
            propagated=propagated[level][0],
            target=target[level][0],
            key=predictions(model.spatial, key_features),
            student=predictions(model.spatial, propagated, model.non_key_test_cfg),
            teacher=predictions(teacher, target),
            cell=tuple(stride / factor for factor in sample.get('scale_factor', (1.0, 1.0))),
            covered=covered_share(sample),
        )


def view_frames(
    model: VideoDetector,
    pack: Callable[..., dict],
    video: str | Path,
    key: int,
    currents: Sequence[int],
    level: int = 0,
) -> list[PairView]:
    """Return a view of the propagation from a key frame of a video to each of other frames of it.

    Args:
        model: In evaluation mode.
        pack: Returns the collated test batch of a frame: ``pack(frame, **metainfo)``, as
            :meth:`~semidff.apis.VideoInferencer.preprocess`.
        video: A video file or a folder of frames.
        key: Index of the key frame, from 0.
        currents: Indices of the current frames, before or after the key frame.

    Raises:
        MethodError: The model has no temporal module, or one without feature flow.
        VideoError: The video cannot be read, or one of the frames is not in it.
        ValueError: The frames differ in size, or there is no such level.
    """
    if not hasattr(model.temporal, 'fields'):
        raise MethodError(
            f'{type(model.temporal).__name__} has no feature flow (fields) to show: give a config whose '
            'temporal module is TemporalModule'
        )
    wanted, frames, last = {key, *currents}, {}, -1
    with closing(open_stream(Path(video))) as stream:
        for frame in islice(stream, max(0, *wanted) + 1):
            last = frame.index
            if last in wanted:
                frames[last] = frame
    if missing := wanted - frames.keys():
        reason = f'frame {min(missing)} asked for, the frames that can be read end with {last} (first: 0)'
        raise VideoError(video, reason)
    views = []
    for current in currents:
        pair = frames[key], frames[current]
        batches = [model.data_preprocessor(pack(f, key_frame_id=key), False) for f in pair]
        images = [batch['inputs'] for batch in batches]
        sample = batches[1]['data_samples'][0]
        shown = [frame.image for frame in pair]
        views.append(view_pair(model, *images, sample, shown, level=level))
    return views
