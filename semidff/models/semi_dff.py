"""semi-DFF's second stage: distillation from the video detector's own frozen spatial module (semi-DFF 3.4)."""

from collections.abc import Collection, Sequence

import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor, nn

from .crop_window import crop_images, crop_samples, crop_windows, cropped_features
from .feature_cache import FeatureCache
from .objectives import Distillation, FeatureSemantics
from .spatial import SpatialModule
from .spatial.probe import plain_samples, probe
from .video_detector import PARTS, VideoDetector


@MODELS.register_module()
class SemiDFF(VideoDetector):
    """Video detector with its teacher.

    The teacher is the spatial module of stage one and never changes. Its task network is a copy, ``teacher_task``,
    since the semantic step trains the student's. Its feature network *is* the student's, stored once in memory and in
    checkpoints, unless a step trains the feature network (Table 3e): then it is a copy, too, ``teacher_features``.

    :meth:`enter_step` sets the objectives and the trained parts of a step;
    :class:`~semidff.engine.loops.DistillationLoop` calls it with the config's. The spatial module is always in eval
    mode, so that its batch-norm statistics never change.

    Args:
        both_directions: Whether to train on each pair in both directions; the features of both frames are computed
            anyway.
        feature_cache: Gigabytes of host memory per process for a
            :class:`~semidff.models.feature_cache.FeatureCache`, 0 for none. It pays off if a good part of the
            training frames fits, without random crops or sizes; crops by
            :class:`~semidff.datasets.transforms.RandomCropWindow` are possible. Not used if a step trains the feature
            network.
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
        self.teacher_features: nn.ModuleList | None = None
        self._set_teacher(self.spatial.with_own_task_network())

    def _set_teacher(self, teacher: SpatialModule) -> None:
        teacher.requires_grad_(False).eval()
        self.teacher_task = nn.ModuleDict(_without_dots(teacher.task_network))
        # Not registered as a submodule: the feature network must not appear twice in the state dict.
        object.__setattr__(self, 'teacher', teacher)

    def init_weights(self) -> None:
        """Initialize the weights, and give the teacher those of the spatial module."""
        super().init_weights()
        self.reset_teacher()

    def own_teacher_features(self) -> None:
        """Give the teacher a copy of the feature network, if it has none; needed before a step that trains it.

        A run with such a step calls this before it loads weights, so that every checkpoint holds the copy.
        """
        if self.teacher_features is None:
            # Weights of no part have no values yet and are in no checkpoint: they stay those of the student.
            self._set_teacher(self.teacher.with_own_task_network(own_features=True))
            self.teacher_features = nn.ModuleList(self.teacher.feature_network)
            self._forget_features()

    def reset_teacher(self, keep: Collection[str] = ()) -> None:
        """Copy the present spatial module to the teacher, after the weights of stage one have been loaded.

        Args:
            keep: Parts of the teacher that are not replaced, ``teacher_task`` and ``teacher_features``.
        """
        self._forget_features()
        if 'teacher_task' not in keep:
            for name, module in _without_dots(self.spatial.task_network).items():
                self.teacher_task[name].load_state_dict(module.state_dict())
        if self.teacher_features is not None and 'teacher_features' not in keep:
            student = nn.ModuleList(self.spatial.feature_network)
            self.teacher_features.load_state_dict(student.state_dict())

    def enter_step(self, objectives: Sequence[dict], trainable: Sequence[str]) -> None:
        """Start a step of the distillation.

        Args:
            objectives: Configs of :class:`~semidff.models.objectives.FeatureRegression` or
                :class:`~semidff.models.objectives.FeatureSemantics`, whose losses are added (joint training,
                Table 3f).
        """
        if 'feature_network' in trainable:
            self.own_teacher_features()
        self.objectives = [MODELS.build(objective) for objective in objectives]
        self.set_trainable(trainable)
        # The teacher shares weights that belong to no part, such as the level embedding of Deformable DETR.
        parts = {p for name in PARTS for module in self.part(name) for p in module.parameters()}
        for weight in set(self.parameters()) - parts:
            weight.requires_grad = False
        # DistributedDataParallel aborts if a trained weight gets no gradient.
        for weight in self.without_gradient(objectives):
            weight.requires_grad = False
        # Gradients of the previous step must not update anything in this one.
        self.zero_grad(set_to_none=True)

    def without_gradient(self, objectives: Sequence[dict]) -> list[nn.Parameter]:
        """Compute the semantic losses of an image to find trainable weights without gradient; removes gradients.

        Such weights are those of outputs that are left out, or that only mmdet's own losses use, and a correction's
        weights of maps that no output depends on. All other objectives compare all maps.

        Raises:
            TypeError: If the semantic loss does not know the detector's outputs.
        """
        built = [MODELS.build(objective) for objective in objectives]
        semantics = [objective for objective in built if isinstance(objective, FeatureSemantics)]
        if not semantics or next(self.parameters()).is_meta:
            return []
        modules = [*self.spatial.task_network.values()]
        modules += [self.temporal] if len(semantics) == len(built) else []
        weights = [p for module in modules for p in module.parameters() if p.requires_grad]

        def compute(images: Tensor) -> Sequence[Tensor | None]:
            samples = plain_samples(1, tuple(images.shape[-2:]))
            features = self.spatial.features(images)
            with torch.enable_grad():
                propagated = self.propagate(images, images, features, samples)
                batch = Distillation(
                    self.spatial,
                    self.teacher,
                    propagated,
                    features,
                    samples,
                    test_cfg=self.non_key_test_cfg,
                )
                total = sum(loss for each in semantics for loss in each(batch).values())
                if total.requires_grad:
                    total.backward()  # backbones with checkpoints do not take torch.autograd.grad()
                return [p.grad for p in weights]

        self.zero_grad(set_to_none=True)
        _, gradients = probe(self, compute)
        self.zero_grad(set_to_none=True)
        return [p for p, gradient in zip(weights, gradients, strict=True) if gradient is None]

    def check_crop_windows(self) -> None:
        """Check that batches may have crops by :class:`~semidff.datasets.transforms.RandomCropWindow`.

        Raises:
            ValueError: If there is no feature cache, or a step trains the feature network.
        """
        if self.feature_cache is None or self.teacher_features is not None:
            raise ValueError(
                'RandomCropWindow needs model.feature_cache and a frozen feature network; use RandomCrop'
            )

    def train(self, mode: bool = True) -> 'SemiDFF':
        """Set the mode of the temporal module; spatial module and teacher stay in eval mode."""
        super().train(mode)
        self.spatial.eval()
        self.teacher.eval()
        self.teacher_task.eval()
        return self

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Compute the objectives of the current step on unlabeled pairs (N, 2, 3, H, W) or triplets (N, 3, 3, H, W)."""
        if not self.objectives:
            raise RuntimeError(
                'no distillation step was entered; set train_cfg.type=DistillationLoop'
            )
        frames, samples = batch_inputs.unbind(1), batch_data_samples
        features, target = self._features_and_target(frames[0], frames[-1], samples)
        if windows := crop_windows(samples):
            frames = [crop_images(images, windows) for images in frames]
            samples = crop_samples(samples, windows)
        key, *middle, current = frames
        if self.both_directions:
            key, current = torch.cat((key, current)), torch.cat((current, key))
            middle = [torch.cat((frame, frame)) for frame in middle]
            samples = [*samples, *samples]
        propagated = self.propagate(key, current, features, samples)
        halfway = [self.propagate(key, frame, features, samples) for frame in middle]
        sequence = (features, *halfway, propagated)
        batch = Distillation(
            self.spatial,
            self.teacher,
            propagated,
            target,
            samples,
            sequence,
            self.non_key_test_cfg,
        )
        losses = {}
        for objective in self.objectives:
            for name, loss in objective(batch).items():  # two objectives may be of one type
                losses[name] = losses[name] + loss if name in losses else loss
        return losses

    def _features_and_target(
        self, key: Tensor, current: Tensor, samples: SampleList
    ) -> tuple[tuple, tuple]:
        """Return the student's features of the key frames and the teacher's of the current frames, or of crops.

        In both directions, each half of the maps is that of a direction.
        """
        windows = crop_windows(samples)
        if windows:
            self.check_crop_windows()
        if self.teacher_features is not None:
            if self.both_directions:
                key, current = torch.cat((key, current)), torch.cat((current, key))
            trained = any(
                p.requires_grad for m in self.part('feature_network') for p in m.parameters()
            )
            with torch.set_grad_enabled(trained):
                features = self.spatial.features(key)
            with torch.no_grad():
                return features, self.teacher.features(current)
        with torch.no_grad():  # one pass over all frames
            if windows:
                maps = cropped_features(
                    self.feature_cache,
                    (*key, *current),
                    2 * list(samples),
                    self.temporal.feat_strides,
                    self.data_preprocessor.pad_size_divisor,
                )
            else:
                network = (
                    self.spatial.features if self.feature_cache is None else self.feature_cache
                )
                maps = network(torch.cat((key, current)))
        halves = [level.chunk(2) for level in maps]
        if self.both_directions:
            return tuple(maps), tuple(torch.cat((second, first)) for first, second in halves)
        return tuple(first for first, _ in halves), tuple(second for _, second in halves)

    def _forget_features(self) -> None:
        if self.feature_cache is not None:
            self.feature_cache.clear()


def _without_dots(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Rename modules for a ModuleDict, which takes no dots in names: ``backbone_layer4_2``."""
    return {name.replace('.', '_'): module for name, module in modules.items()}
