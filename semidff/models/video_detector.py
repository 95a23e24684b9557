"""The video detector: N_feat + T + N_task (DFF section 3, Algorithm 1; semi-DFF 3.1)."""

import copy
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor, nn

from .spatial import SpatialModule, Split

PARTS = ('temporal', 'task_network', 'feature_network')


class KeyFrame(NamedTuple):
    """All that is kept of a key frame.

    Attributes:
        image: The temporal module's input of the frame (N, 3, H / 2, W / 2), None without a temporal module.
        features: One map per level (N, C, H_l, W_l).
    """

    image: Tensor | None
    features: tuple[Tensor, ...]

    @classmethod
    def batch(cls, keys: 'Sequence[KeyFrame]') -> 'KeyFrame':
        """Key frames of equal sizes as one batch."""
        if len(keys) == 1:
            return keys[0]
        images, features = zip(*keys, strict=True)
        image = None if images[0] is None else torch.cat(images)
        return cls(image, tuple(torch.cat(level) for level in zip(*features, strict=True)))

    def split(self) -> 'list[KeyFrame]':
        """The key frames of a batch, each with memory of its own: none keeps the others' alive."""
        count = len(self.features[0])
        if count == 1:
            return [self]
        images = [None] * count if self.image is None else self.image.split(1)
        levels = zip(*(level.split(1) for level in self.features), strict=True)
        return [
            KeyFrame(image if image is None else image.clone(), tuple(map(torch.clone, features)))
            for image, features in zip(images, levels, strict=True)
        ]


class FlowField(NamedTuple):
    """How current frames would be propagated from their key frames; known before anything is propagated.

    Attributes:
        key: The temporal module's input of the key frames (N, 3, H / 2, W / 2).
        current: The same of the current frames.
        flow: Feature flow (N, 2, h, w) in cells of the flow network's stride.
        scale: Scale field (N, C, h, w), None without one.
    """

    key: Tensor
    current: Tensor
    flow: Tensor
    scale: Tensor | None

    def select(self, indices: Sequence[int]) -> 'FlowField':
        """The flow_field of some of the frames."""
        indices = list(indices)
        if indices == list(range(len(self.flow))):
            return self  # of a single stream: nothing is copied
        return FlowField(*(field if field is None else field[indices] for field in self))


@MODELS.register_module()
class VideoDetector(BaseDetector):
    """An mmdet detector with a temporal module that carries features from key frames to the frames between.

    As an mmdet detector (``forward(mode='predict')``) it runs the spatial module on every frame.

    Args:
        detector: Config of the mmdet detector that is the spatial module, or the module itself.
        temporal: Config of the temporal module; None for a detector that works frame by frame only.
        split: Config of the split point, where the feature network ends (DFF Table 5): ``ExtractFeatSplit`` (None),
            ``ResNetSplit`` or ``ScoreMapSplit``.
        trainable: Parts that learn, of ``temporal``, ``task_network`` and ``feature_network``.
    """

    def __init__(
        self,
        detector: dict | nn.Module,
        temporal: dict | None = None,
        split: dict | Split | None = None,
        trainable: Sequence[str] = PARTS,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='VideoDataPreprocessor'), init_cfg)
        self.spatial = SpatialModule(detector, split)
        self.temporal = None if temporal is None else MODELS.build(temporal)
        # What the detector itself froze (its stem, say) stays frozen.
        self._learnable = {p for p in self.parameters() if p.requires_grad}
        self.set_trainable(trainable)

    @classmethod
    def wrap(cls, detector: nn.Module) -> 'VideoDetector':
        """A video detector without temporal module around a built mmdet detector."""
        return cls(detector, data_preprocessor=detector.data_preprocessor)

    def with_temporal(self, temporal: nn.Module) -> 'VideoDetector':
        """The same detector with another temporal module, for prediction; everything else is shared, not copied."""
        twin = copy.copy(self)
        twin._modules = self._modules.copy()
        twin.temporal = temporal
        return twin

    @property
    def has_temporal(self) -> bool:
        """Whether features can be propagated."""
        return self.temporal is not None

    def part(self, name: str) -> list[nn.Module]:
        """Modules of a part: ``temporal``, ``task_network`` or ``feature_network``."""
        if name not in PARTS:
            raise ValueError(f'unknown part {name!r} of the video detector; choose from {PARTS}')
        if name == 'temporal':
            return [self.temporal] if self.has_temporal else []
        return (
            list(self.spatial.task_network.values())
            if name == 'task_network'
            else self.spatial.feature_network
        )

    def set_trainable(self, parts: Iterable[str]) -> None:
        """Lets exactly the named parts learn."""
        parts = set(parts)
        for name in (*PARTS, *parts):
            for module in self.part(name):
                for parameter in module.parameters():
                    parameter.requires_grad = name in parts and parameter in self._learnable

    # --- prediction -------------------------------------------------------------------------------------------

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        """Detects on key frames with the whole spatial module (Algorithm 1, lines 3-4 and 8-9).

        Args:
            inputs: Normalized frames (N, 3, H, W).
            samples: Their data samples.

        Returns:
            The samples with ``pred_instances``, and what :meth:`predict_non_key` needs of the key frames.
        """
        features = self.spatial.features(inputs)
        image = self.temporal.prepare(inputs) if self.has_temporal else None
        return self.spatial.predict(features, samples), KeyFrame(image, features)

    def flow_field(self, inputs: Tensor, key: KeyFrame) -> FlowField:
        """Feature flow and scale field of current frames: the part of propagation that costs.

        Args:
            inputs: Normalized current frames (N, 3, H, W).
            key: Of the frames' key frames.
        """
        current = self.temporal.prepare(inputs)
        return FlowField(key.image, current, *self.temporal.flow_and_scale(key.image, current))

    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: KeyFrame,
        flow_field: FlowField | None = None,
    ) -> SampleList:
        """Detects on propagated features (Algorithm 1, lines 11-12); the feature network does not run.

        Args:
            inputs: Normalized current frames (N, 3, H, W).
            samples: Their data samples.
            key: Of the frames' key frames.
            flow_field: What :meth:`flow_field` returned for the same frames, if it is known already.
        """
        if flow_field is None:
            features = self.temporal(key.image, self.temporal.prepare(inputs), key.features)
        else:
            features = self.temporal.propagate(key.features, flow_field.flow, flow_field.scale)
        return self.spatial.predict(features, samples)

    # --- mmdet's modes ----------------------------------------------------------------------------------------

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Features of frames (N, 3, H, W)."""
        return self.spatial.features(batch_inputs)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> SampleList:
        """Frame-by-frame detection."""
        return self.predict_key(batch_inputs, batch_data_samples)[0]

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """The supervised task loss on propagated features (DFF section 3, training).

        Args:
            batch_inputs: Pairs (N, 2, 3, H, W) of key frame and current frame.
            batch_data_samples: Data samples of the current frames, with ground truth; a pair whose
                ``key_frame_id`` equals its ``frame_id`` trains the detector on the unpropagated features.
        """
        key, current = batch_inputs.unbind(1)
        features = self.propagate(key, current, self.spatial.features(key), batch_data_samples)
        return self.spatial.loss(features, batch_data_samples)

    def propagate(
        self, key: Tensor, current: Tensor, features: Sequence[Tensor], samples: SampleList
    ) -> tuple[Tensor, ...]:
        """Current frames' features, propagated from key frames; unchanged where both are the same frame.

        Args:
            key: Normalized key frames (N, 3, H, W).
            current: Normalized current frames (N, 3, H, W).
            features: Key-frame features, (N, C, H_l, W_l) per level.
            samples: Data samples of the current frames (``frame_id``, ``key_frame_id``).
        """
        propagated = self.temporal(
            self.temporal.prepare(key), self.temporal.prepare(current), features
        )
        same = key.new_tensor(
            [s.get('key_frame_id', -1) == s.get('frame_id') for s in samples], dtype=torch.bool
        )
        if not same.any():
            return propagated
        same = same[:, None, None, None]
        return tuple(
            torch.where(same, old, new) for old, new in zip(features, propagated, strict=True)
        )

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None) -> tuple:
        """Features, without heads; for tools that trace the network."""
        return self.extract_feat(batch_inputs)
