"""semi-DFF's second stage: distillation from the video detector's own frozen spatial module (semi-DFF 3.4)."""

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from .feature_cache import FeatureCache
from .objectives import Distillation, FeatureSemantics
from .spatial.probe import probe
from .video_detector import VideoDetector


@MODELS.register_module()
class SemiDFF(VideoDetector):
    """Video detector with its teacher.

    The teacher is the spatial module of stage one. Its feature network *is* the student's, which stage two does not
    change, so that it is stored once, in memory and in checkpoints. Its task network is a copy, ``teacher_task``,
    since the semantic step trains the student's.

    :meth:`enter_step` sets the objectives and the trained parts of a step;
    :class:`~semidff.engine.loops.DistillationLoop` calls it with the config's. The spatial module is always in eval
    mode, so that its batch-norm statistics never change.

    Args:
        both_directions: Whether to train on each pair in both directions; the features of both frames are computed
            anyway.
        feature_cache: Gigabytes of host memory per process for a
            :class:`~semidff.models.feature_cache.FeatureCache`, 0 for none. It pays off if a good part of the
            training frames fits, without random crops or sizes.
        kwargs: Arguments of :class:`~semidff.models.video_detector.VideoDetector`.
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
        # Not registered as a submodule: the feature network must not appear twice in the state dict.
        object.__setattr__(self, 'teacher', teacher)

    def reset_teacher(self) -> None:
        """Copy the present spatial module to the teacher, after the weights of stage one have been loaded."""
        self._forget_features()
        for name, module in _without_dots(self.spatial.task_network).items():
            self.teacher_task[name].load_state_dict(module.state_dict())

    def enter_step(self, objectives: Sequence[dict], trainable: Sequence[str]) -> None:
        """Start a step of the distillation.

        Args:
            objectives: Configs of :class:`~semidff.models.objectives.FeatureRegression` or
                :class:`~semidff.models.objectives.FeatureSemantics`, whose losses are added (joint training,
                Table 3f).
        """
        self.objectives = [MODELS.build(objective) for objective in objectives]
        self.set_trainable(trainable)
        # DistributedDataParallel aborts if a trained weight gets no gradient.
        for weight in self.without_gradient(objectives):
            weight.requires_grad = False
        if 'feature_network' in trainable:
            self._forget_features()
        # Gradients of the previous step must not update anything in this one.
        self.zero_grad(set_to_none=True)

    def without_gradient(self, objectives: Sequence[dict]) -> list[nn.Parameter]:
        """Compute the semantic losses of an image to find trainable weights of the task network without gradient.

        Such weights are those of outputs that are left out, or that only mmdet's own losses use.

        Raises:
            TypeError: If the semantic loss does not know the detector's outputs.
        """
        built = [MODELS.build(objective) for objective in objectives]
        semantics = [objective for objective in built if isinstance(objective, FeatureSemantics)]
        if not semantics or next(self.parameters()).is_meta:
            return []
        modules = self.spatial.task_network.values()
        weights = [p for module in modules for p in module.parameters() if p.requires_grad]

        def compute(images: Tensor) -> Sequence[Tensor | None]:
            size = tuple(images.shape[-2:])
            shapes = dict.fromkeys(
                ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), size
            )
            sample = DetDataSample(metainfo=dict(shapes, scale_factor=(1.0, 1.0)))
            features = self.spatial.features(images)
            with torch.enable_grad():
                batch = Distillation(self.spatial, self.teacher, features, features, [sample])
                total = sum(loss for each in semantics for loss in each(batch).values())
                return torch.autograd.grad(total, weights, allow_unused=True) if weights else ()

        _, gradients = probe(self.spatial, compute)
        return [p for p, gradient in zip(weights, gradients, strict=True) if gradient is None]

    def train(self, mode: bool = True) -> 'SemiDFF':
        """Set the mode of the temporal module; spatial module and teacher stay in eval mode."""
        super().train(mode)
        self.spatial.eval()
        self.teacher_task.eval()
        return self

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Compute the objectives of the current step on unlabeled pairs (N, 2, 3, H, W)."""
        if not self.objectives:
            raise RuntimeError(
                'no distillation step was entered; set train_cfg.type=DistillationLoop'
            )
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
        """Return the features of both frames; without gradient and cached unless the feature network is trained."""
        trained = any(p.requires_grad for m in self.spatial.feature_network for p in m.parameters())
        computed = trained or self.feature_cache is None
        network = self.spatial.features if computed else self.feature_cache
        with torch.set_grad_enabled(trained):
            both = network(torch.cat((key, current)))
        halves = [level.chunk(2) for level in both]
        return tuple(h[0] for h in halves), tuple(h[1].detach() for h in halves)

    def _forget_features(self) -> None:
        if self.feature_cache is not None:
            self.feature_cache.clear()


def _without_dots(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Rename modules for a ModuleDict, which takes no dots in names: ``backbone_layer4_2``."""
    return {name.replace('.', '_'): module for name, module in modules.items()}


def _cat(first: Sequence[Tensor], second: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(levels) for levels in zip(first, second, strict=True))
