"""semi-DFF's second stage: a video detector learns from its own frozen spatial module (semi-DFF 3.4)."""

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor, nn

from .feature_cache import FeatureCache
from .objectives import Distillation
from .video_detector import VideoDetector


@MODELS.register_module()
class SemiDFF(VideoDetector):
    """A video detector with its teacher.

    The teacher is the spatial module of stage one. Its feature network *is* the student's, which stage two does not
    change, so it exists once, in memory and in checkpoints; its task network is a copy, kept as ``teacher_task``,
    because the semantic step trains the student's.

    Which objectives apply and which parts learn is set per step by :meth:`enter_step`
    (:class:`~semidff.engine.loops.DistillationLoop` does that from the config). The spatial module is in
    evaluation mode throughout, so that its batch-norm statistics never change.

    Args:
        both_directions: Use each pair also with the roles of its frames exchanged; the features are there anyway.
        feature_cache: Gigabytes of host memory for the features of frames that come again
            (:class:`~semidff.models.feature_cache.FeatureCache`), in each process; 0 for none. For videos few enough
            that a good part fits, without random crops or sizes.
        kwargs: Of :class:`~semidff.models.video_detector.VideoDetector`.
    """

    def __init__(
        self, *args, both_directions: bool = False, feature_cache: float = 0, **kwargs
    ) -> None:
        super().__init__(*args, **{'trainable': ('temporal',), **kwargs})
        if not self.has_temporal:
            raise ValueError('SemiDFF needs a temporal module: set model.temporal')
        self.both_directions = both_directions
        self.feature_cache = (
            FeatureCache(self.spatial.features, feature_cache) if feature_cache else None
        )
        self.objectives: list = []
        teacher = self.spatial.with_own_task_network().requires_grad_(False).eval()
        self.teacher_task = nn.ModuleDict(_without_dots(teacher.task_network))
        # Only its task network is registered: the feature network must not appear twice in the state dict.
        object.__setattr__(self, 'teacher', teacher)

    def reset_teacher(self) -> None:
        """Makes the teacher equal to the spatial module as it is now; call it after stage one was loaded."""
        self._forget_features()
        for name, module in _without_dots(self.spatial.task_network).items():
            self.teacher_task[name].load_state_dict(module.state_dict())

    def enter_step(self, objectives: Sequence[dict], trainable: Sequence[str]) -> None:
        """Starts a step of the distillation.

        Args:
            objectives: Configs of :class:`~semidff.models.objectives.FeatureRegression` or
                :class:`~semidff.models.objectives.FeatureSemantics`; several are added (joint training, Table 3f).
            trainable: Parts that learn in this step.
        """
        self.objectives = [MODELS.build(objective) for objective in objectives]
        self.set_trainable(trainable)
        if 'feature_network' in trainable:
            self._forget_features()
        # Gradients of the step before must not move anything in this one.
        self.zero_grad(set_to_none=True)

    def train(self, mode: bool = True) -> 'SemiDFF':
        """Sets the mode of the temporal module only: mmengine's loops call this, and a teacher must not wake up."""
        super().train(mode)
        self.spatial.eval()
        self.teacher_task.eval()
        return self

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """The current step's objectives on pairs (N, 2, 3, H, W) without labels."""
        if not self.objectives:
            raise RuntimeError('no distillation step was entered; train with type=DistillationLoop')
        key, current = batch_inputs.unbind(1)
        features_key, features_current = self._both_features(key, current)
        samples = batch_data_samples
        if self.both_directions:
            key, current = torch.cat((key, current)), torch.cat((current, key))
            features_key, features_current = (
                _cat(features_key, features_current),
                _cat(features_current, features_key),
            )
            samples = [*samples, *samples]
        propagated = self.propagate(key, current, features_key, samples)
        batch = Distillation(self.spatial, self.teacher, propagated, features_current, samples)
        losses = {}
        for objective in self.objectives:
            losses.update(objective(batch))
        return losses

    def _both_features(self, key: Tensor, current: Tensor) -> tuple[tuple, tuple]:
        """Features of both frames; without gradient and from the cache unless the feature network learns."""
        learns = any(p.requires_grad for m in self.spatial.feature_network for p in m.parameters())
        computed = learns or self.feature_cache is None
        network = self.spatial.features if computed else self.feature_cache
        with torch.set_grad_enabled(learns):
            both = network(torch.cat((key, current)))
        halves = [level.chunk(2) for level in both]
        return tuple(h[0] for h in halves), tuple(h[1].detach() for h in halves)

    def _forget_features(self) -> None:
        if self.feature_cache is not None:
            self.feature_cache.clear()


def _without_dots(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Names that a ModuleDict takes: ``backbone_layer4_2``."""
    return {name.replace('.', '_'): module for name, module in modules.items()}


def _cat(first: Sequence[Tensor], second: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(levels) for levels in zip(first, second, strict=True))
