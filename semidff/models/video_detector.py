"""The video detector: N_feat, temporal module and N_task (DFF Algorithm 1; semi-DFF 3.1)."""

import copy
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor, nn

from semidff.checkpoints.building import is_kind
from semidff.checkpoints.detectors import read_detector
from semidff.checkpoints.read import read_checkpoint, stored_classes
from semidff.checkpoints.strict import load_for_test

from .data_preprocessor import preprocessor_of
from .key_frame import FlowField, KeyFrame
from .spatial import SpatialModule, Split
from .spatial.head_family import twin
from .temporal import ResidualModule, TemporalModule
from .temporal.temporal_module import with_normalization
from .temporal.warp import is_recorded

PARTS = ('temporal', 'task_network', 'feature_network')

_FEW_PIXELS = 2**17
"""Pixels of a frame up to which warp and task network are faster for a batch on a CPU, too."""


@MODELS.register_module()
class VideoDetector(BaseDetector):
    """An mmdet detector with a temporal module, which propagates features to non-key frames.

    As an mmdet detector (``forward(mode='predict')``) it runs the spatial module on every frame.

    Args:
        detector: The mmdet detector that is the spatial module, its config, a config file, or the
            name of a model of mmdet, see :func:`~semidff.checkpoints.detectors.read_detector`.
        temporal: Config of the temporal module; None for a detector that works frame by frame only.
            Its channels and strides are those of the feature network.
        split: Config of the split point, where the feature network ends (DFF Table 5):
            ``ExtractFeatSplit`` (None), ``ResNetSplit``, ``TowerSplit``, ``OutputSplit`` or
            ``EncoderSplit``.
        trainable: Parts that are trained, of ``temporal``, ``task_network`` and
            ``feature_network``.
        non_key_test_cfg: Settings that replace some of the detector's ``test_cfg`` on non-key
            frames: fewer proposals make a second stage faster, ``dict(rpn=dict(max_per_img=100))``.
        checkpoint: Weights of the detector, a file or an address; ``init_weights()`` does not
            change them.
        data_preprocessor: Used for a detector that has none of its own.
    """

    both_directions = False  # whether the temporal module learns to propagate backward, too

    def __init__(
        self,
        detector: dict | nn.Module | str | Path,
        temporal: dict | None = None,
        split: dict | Split | None = None,
        trainable: Sequence[str] = PARTS,
        non_key_test_cfg: dict | None = None,
        checkpoint: str | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if isinstance(detector, str | Path):
            detector = read_detector(str(detector), warn=checkpoint is None).model
        spatial = SpatialModule(detector, split)
        super().__init__(preprocessor_of(spatial.detector, data_preprocessor), init_cfg)
        self.spatial = spatial
        if checkpoint is not None:  # of an image detector or of a video detector
            state, meta = read_checkpoint(checkpoint)
            load_for_test(self, checkpoint, needs_temporal=False, state=state)
            spatial.detector.is_init = True
            self.dataset_meta = dict(classes=stored_classes(meta))
        self.non_key_test_cfg = non_key_test_cfg or {}
        self.temporal = None if temporal is None else self._build_temporal(temporal)
        self.autocast: torch.dtype | None = None  # half precision of the prediction
        # Parameters that the detector itself froze, such as its stem, stay frozen.
        self._learnable = {p for p in self.parameters() if p.requires_grad}
        self.set_trainable(trainable)

    def _build_temporal(self, config: dict) -> nn.Module:
        """Build the temporal module; what its config leaves open follows from the detector."""
        if is_kind(config, TemporalModule | ResidualModule):
            channels, strides = self.spatial.probe_levels()
            config = {**config, 'feat_channels': channels, 'feat_strides': strides}
            if config.get('shared_classes'):
                config['class_maps'] = self.spatial.split.class_maps()
        if is_kind(config, TemporalModule):
            config.setdefault('padding', self.spatial.split.padding)
        return MODELS.build(with_normalization(config, self.data_preprocessor))

    @classmethod
    def wrap(cls, detector: nn.Module) -> 'VideoDetector':
        """Wrap a built mmdet detector, without temporal module; a video detector stays."""
        if isinstance(detector, VideoDetector):
            return detector
        wrapped = cls(detector, data_preprocessor=detector.data_preprocessor)
        for name in {'cfg', 'dataset_meta'} & vars(detector).keys():
            setattr(wrapped, name, getattr(detector, name))
        return wrapped

    def with_temporal(self, temporal: nn.Module | None) -> 'VideoDetector':
        """Return this detector with another temporal module or without; all else is shared."""
        return twin(self, temporal=temporal)

    def independent(self) -> 'VideoDetector | None':
        """Return a detector with the same weights for another thread, None if that is impossible.

        Its modules are its own, since some keep intermediate results of a frame (DDQ-DETR: the
        masks of its queries).
        """
        tensors = {id(tensor): tensor for tensor in (*self.parameters(), *self.buffers())}
        compiled = any(module._compiled_call_impl is not None for module in self.modules())
        if compiled or next(self.parameters()).device.type != 'cpu':
            return None
        return copy.deepcopy(self, tensors)

    @property
    def model(self) -> 'VideoDetector':
        """Itself, as the executor of eager frames."""
        return self

    @property
    def has_temporal(self) -> bool:
        return self.temporal is not None

    def part(self, name: str) -> list[nn.Module]:
        """Return the modules of a part: ``temporal``, ``task_network`` or ``feature_network``."""
        return dict(
            temporal=[self.temporal] if self.has_temporal else [],
            task_network=list(self.spatial.task_network.values()),
            feature_network=self.spatial.feature_network,
        )[name]

    def weights_of(self, name: str) -> set[nn.Parameter]:
        """Return the weights of the modules of a part."""
        return {weight for module in self.part(name) for weight in module.parameters()}

    def set_trainable(self, parts: Iterable[str]) -> None:
        """Train exactly the named parts; the others keep their batch-norm statistics, too."""
        self.trainable = set(parts)
        trained = set().union(*map(self.weights_of, self.trainable))
        if self.spatial.split.bare_weights in self.trainable:
            trained |= set(self.spatial.parameters()).difference(*map(self.weights_of, PARTS))
        for weight in self.parameters():
            weight.requires_grad = weight in trained and weight in self._learnable

    def train(self, mode: bool = True) -> 'VideoDetector':
        """Set the mode of the trained parts; the layers of the others stay in evaluation mode."""
        super().train(mode)
        for name in set(PARTS) - self.trainable:
            for module in (one for part in self.part(name) for one in part.modules()):
                # Some dense heads return other outputs in evaluation, which their losses do not
                # take.
                module.training = mode and hasattr(module, 'loss_by_feat')
        return self

    def running(self) -> AbstractContextManager:
        """Context of the precision of the prediction; prediction methods enter it themselves."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(next(self.parameters()).device.type, self.autocast)

    def preprocess(
        self, frames: Sequence[Tensor], samples: SampleList
    ) -> tuple[Tensor, SampleList]:
        """Send frames (3, H, W) of one size to the device, as a batch (N, 3, H, W).

        Frames of uint8 stay so: the methods normalize them, those of a chunk at once.
        """
        data = dict(inputs=frames, data_samples=samples)
        if hasattr(self.data_preprocessor, 'send') and not frames[0].is_floating_point():
            data = self.data_preprocessor.send(data)
        else:
            data = self.data_preprocessor(data, False)
        return data['inputs'], data['data_samples']

    def normalized(self, inputs: Tensor) -> Tensor:
        """Return frames from :meth:`preprocess`, normalized and padded."""
        if inputs.is_floating_point():
            return inputs
        if torch.compiler.is_compiling() or is_recorded():
            return self.data_preprocessor.normalized(inputs)
        return self.data_preprocessor(dict(inputs=list(inputs), data_samples=None))['inputs']

    def key_image(self, inputs: Tensor) -> Tensor:
        """Return the temporal module's input of key frames (N, 3, H, W)."""
        with self.running():
            return self.temporal.prepare(self.normalized(inputs))

    def key_frame(self, inputs: Tensor, samples: SampleList | None = None) -> KeyFrame:
        """Compute what is kept of key frames (N, 3, H, W) (Algorithm 1, lines 3 and 8)."""
        with self.running():
            inputs = self.normalized(inputs)
            image = self.temporal.prepare(inputs) if self.has_temporal else None
            return KeyFrame(image, self.spatial.features(inputs, samples))

    def prepare(self, key: Hashable, predict: Callable[..., Any]) -> None:
        """Do nothing: eager frames need no preparation."""

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        """Detect on key frames (N, 3, H, W) (Algorithm 1, lines 3-4, 8-9)."""
        key = self.key_frame(inputs, samples)
        with self.running():
            return self.spatial.predict(key.features, samples), key

    def flow_field(self, inputs: Tensor, key: KeyFrame) -> FlowField:
        """Compute the fields of current frames (N, 3, H, W): the expensive part of propagation."""
        with self.running():
            current = self.temporal.prepare(self.normalized(inputs))
            fields = self.temporal.fields(key.image, current)
            return FlowField(key.image.expand_as(current), current, *fields)

    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: KeyFrame,
        flow_field: FlowField | None = None,
    ) -> SampleList:
        """Detect on current frames (N, 3, H, W) without N_feat (Algorithm 1, lines 11-12).

        ``flow_field`` is the result of :meth:`flow_field` for the same frames, if it was computed
        already. On a CPU, the flow of large frames with the same key frame is computed at once, and
        all else frame by frame.
        """
        in_turns = (
            1 == len(key.features[0]) < len(inputs)
            and inputs.device.type == 'cpu'
            and inputs[0, 0].numel() > _FEW_PIXELS
            and hasattr(self.temporal, 'fields')
        )
        with self.running():
            if flow_field is None and not in_turns:
                current = self.temporal.prepare(self.normalized(inputs))
                features = self.temporal(key.image, current, key.features)
                return self.spatial.predict(features, samples, self.non_key_test_cfg)
            flow_field = flow_field or self.flow_field(inputs, key)
            batches = [(flow_field, samples)]
            if in_turns:
                batches = [(flow_field.frame(i), [sample]) for i, sample in enumerate(samples)]
            results = []
            for field, batch in batches:
                features = self.temporal.propagate(key.features, *field.fields)
                results += self.spatial.predict(features, batch, self.non_key_test_cfg)
        return results

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        return self.spatial.features(batch_inputs)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> SampleList:
        return self.predict_key(batch_inputs, batch_data_samples)[0]

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Compute the supervised loss of pairs (N, 2, 3, H, W) (DFF section 3, training).

        A pair whose ``key_frame_id`` equals its ``frame_id`` trains the detector on the key frame's
        own features.
        """
        if not self.has_temporal or batch_inputs.dim() != 5 or batch_inputs.shape[1] != 2:
            raise ValueError(
                'a video detector is trained on pairs of frames (N, 2, 3, H, W), got '
                f'{tuple(batch_inputs.shape)}, and needs a temporal module, got '
                f'{type(self.temporal).__name__}: set model.temporal and use LabeledPairDataset'
            )
        self.spatial.heads.check(with_labels=True)
        key, current = batch_inputs.unbind(1)
        features = self.spatial.features(key, batch_data_samples)
        features = self.propagate(key, current, features, batch_data_samples)
        return self.spatial.loss(features, batch_data_samples)

    def propagate(
        self, key: Tensor, current: Tensor, features: Sequence[Tensor], samples: SampleList
    ) -> tuple[Tensor, ...]:
        """Propagate features from key frames to current frames, unless both are one frame.

        Args:
            key, current: Normalized frames (N, 3, H, W).
            features: Features of the key frames, (N, C, H_l, W_l) per level.
            samples: Data samples of the current frames (``frame_id``, ``key_frame_id``).
        """
        prepare = self.temporal.prepare
        propagated = self.temporal(prepare(key), prepare(current), features)
        still = [s.get('key_frame_id', -1) == s.get('frame_id') for s in samples]
        if not any(still):
            return propagated
        same = key.new_tensor(still, dtype=torch.bool)[:, None, None, None]
        return tuple(
            torch.where(same, old, new) for old, new in zip(features, propagated, strict=True)
        )

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None) -> tuple:
        return self.extract_feat(batch_inputs)
