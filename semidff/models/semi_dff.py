"""semi-DFF's second stage: distillation from the detector of stage one (semi-DFF 3.4)."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from .data_preprocessor import digest_of
from .objectives import Distillation, FeatureSemantics, Teacher
from .spatial import plain_samples
from .spatial.spatial_module import probe
from .video_detector import PARTS, VideoDetector


@MODELS.register_module()
class SemiDFF(VideoDetector):
    """Video detector with its :class:`Teacher`.

    The teacher has a feature network of its own only if the student's is trained (Table 3e). In
    state dicts, its weights are ``teacher_task`` and ``teacher_features``. The spatial module is
    always in eval mode, so that its batch-norm statistics never change.

    Args:
        objectives: Configs of the losses, which are added (joint training, Table 3f); see
            :mod:`semidff.models.objectives`. Weights that get no gradient from them are frozen.
        trainable: Parts that are trained, as in :class:`VideoDetector`; ``temporal`` by default.
        both_directions: Whether to train on each pair in both directions; the features of both
            frames are computed anyway.
        feature_cache: Gigabytes of host memory per process for a :class:`FeatureCache`, 0 for none.
            It pays off if a good part of the training frames fits, without random crops or sizes;
            crops by :class:`~semidff.datasets.transforms.RandomCropWindow` are possible, and need
            it. Not used if the feature network is trained.
    """

    def __init__(
        self,
        *args,
        objectives: Sequence[dict] = (),
        trainable: Sequence[str] = ('temporal',),
        both_directions: bool = False,
        feature_cache: float = 0,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not self.has_temporal:
            raise ValueError('SemiDFF needs a temporal module: set model.temporal')
        # Weights of no part, such as the level embedding of Deformable DETR, are the teacher's,
        # too.
        self._learnable &= set().union(*map(self.weights_of, PARTS))
        self.both_directions = both_directions
        self.feature_cache: FeatureCache | None = None
        if feature_cache:
            strides, divisor = self.temporal.feat_strides, self.data_preprocessor.pad_size_divisor
            features = self.spatial.features
            self.feature_cache = FeatureCache(features, feature_cache, strides, divisor)
        self.data_preprocessor.notes_content = bool(feature_cache)
        self.teacher_features: nn.ModuleList | None = None
        self._set_teacher(Teacher(self.spatial))
        self.set_objectives(objectives, trainable)

    def _set_teacher(self, teacher: Teacher) -> None:
        self.teacher = teacher  # no module: the feature network must be in the state dict once
        self.teacher_task = nn.ModuleDict(_without_dots(teacher.spatial.task_network))
        if teacher.own_features:
            self.teacher_features = nn.ModuleList(teacher.spatial.feature_network)
        self._forget_features()

    def init_weights(self) -> None:
        super().init_weights()
        self.reset_teacher()

    def own_teacher_features(self) -> None:
        """Give the teacher a copy of the feature network, if it has none."""
        if not self.teacher.own_features:
            self._set_teacher(Teacher(self.teacher.spatial, own_features=True))

    def reset_teacher(self, keep: Collection[str] = ()) -> None:
        """Copy the spatial module to the teacher, except for loaded parts of it (``keep``)."""
        self._forget_features()
        if 'teacher_task' not in keep:
            student = nn.ModuleDict(_without_dots(self.spatial.task_network))
            self.teacher_task.load_state_dict(student.state_dict())
        if self.teacher_features is not None and 'teacher_features' not in keep:
            student = nn.ModuleList(self.spatial.feature_network)
            self.teacher_features.load_state_dict(student.state_dict())

    def set_objectives(self, objectives: Sequence[dict], trainable: Sequence[str]) -> None:
        """Set the losses and the parts that they train; removes gradients."""
        if 'feature_network' in trainable:
            self.own_teacher_features()
        self.objectives = [MODELS.build(objective) for objective in objectives]
        self.set_trainable(trainable)
        self.zero_grad(set_to_none=True)
        self._freeze_weights_without_gradient()
        self.zero_grad(set_to_none=True)

    def _freeze_weights_without_gradient(self) -> None:
        """Freeze weights that get no gradient, for which DistributedDataParallel would wait.

        They are those of outputs that are left out or that only mmdet's own losses use, and a
        correction's weights of maps that no output depends on. Semantic losses are computed once to
        find them; all other objectives compare all maps.
        """
        semantics = [each for each in self.objectives if isinstance(each, FeatureSemantics)]
        if semantics and not next(self.parameters()).is_meta:
            probe(self, partial(self._add_gradients, semantics))
            names = ('task_network', 'temporal')[: 1 + (len(semantics) == len(self.objectives))]
            for weight in set().union(*map(self.weights_of, names)):
                weight.requires_grad &= weight.grad is not None

    def _add_gradients(self, objectives: Sequence[FeatureSemantics], images: Tensor) -> None:
        samples = plain_samples(len(images), tuple(images.shape[-2:]))
        features = self.spatial.features(images)
        with torch.enable_grad():
            propagated = self.propagate(images, images, features, samples)
            losses = self._losses(objectives, propagated, features, samples)
            if any(loss.requires_grad for loss in losses.values()):
                sum(losses.values()).backward()  # checkpoints do not take torch.autograd.grad()

    def train(self, mode: bool = True) -> 'SemiDFF':
        super().train(mode)
        self.spatial.eval()
        self.teacher.spatial.eval()
        return self

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Compute the objectives on unlabeled pairs (N, 2, 3, H, W) or triplets (N, 3, 3, H, W)."""
        if not self.objectives:
            raise RuntimeError('SemiDFF has no losses: set model.objectives or train_cfg.steps')
        frames, samples = batch_inputs.unbind(1), batch_data_samples
        features, target = self._features_and_target(frames[0], frames[-1], samples)
        if 'crop_window' in samples[0]:
            frames = [torch.stack([*map(_cropped, images, samples)]) for images in frames]
            samples = [sample.new() for sample in samples]
            for sample in samples:
                keys = 'img_shape', 'batch_input_shape', 'pad_shape'
                sample.set_metainfo(dict.fromkeys(keys, sample.crop_window[2:]))
        key, *middle, current = frames
        if self.both_directions:
            key, current = torch.cat((key, current)), torch.cat((current, key))
            middle = [torch.cat((frame, frame)) for frame in middle]
            samples = [*samples, *samples]
        propagated = self.propagate(key, current, features, samples)
        halfway = [self.propagate(key, frame, features, samples) for frame in middle]
        sequence = features, *halfway, propagated
        return self._losses(self.objectives, propagated, target, samples, sequence)

    def _losses(self, objectives: Sequence[Callable], *batch) -> dict[str, Tensor]:
        batch = Distillation(self.spatial, self.teacher, *batch, test_cfg=self.non_key_test_cfg)
        losses: dict[str, Tensor] = {}
        for objective in objectives:
            for name, loss in objective(batch).items():  # two objectives may be of one type
                losses[name] = losses[name] + loss if name in losses else loss
        return losses

    def _features_and_target(
        self, key: Tensor, current: Tensor, samples: SampleList
    ) -> tuple[tuple, tuple]:
        """Return the student's features of the key frames and the teacher's of the current frames.

        In both directions, each half of the maps is that of a direction.
        """
        if self.teacher.own_features:
            if self.both_directions:
                key, current = torch.cat((key, current)), torch.cat((current, key))
            with torch.set_grad_enabled('feature_network' in self.trainable):
                features = self.spatial.features(key, samples)
            return features, self.teacher.features(current, samples)
        network = self.teacher.features if self.feature_cache is None else self.feature_cache
        maps = network(torch.cat((key, current)), samples)  # one pass over all frames
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


def _cropped(maps: Tensor, sample: DetDataSample, stride: float = 1) -> Tensor:
    """Crop maps (..., H, W) to a sample's window: top, left, height and width in pixels."""
    top, left, height, width = (-int(-side // stride) for side in sample.crop_window)
    crop = maps[..., top : top + height, left : left + width]
    # A network that rounds sides down has no cell for the last pixels of a frame.
    missing = (0, width - crop.shape[-1], 0, height - crop.shape[-2])
    return F.pad(crop, missing, 'replicate') if any(missing) else crop


class FeatureCache:
    """Runs a frozen feature network once per frame, as far as memory allows.

    The frozen feature network costs more than the forward and backward pass of the temporal module.
    The cache's key is a frame's content, so that it is correct with any augmentation, and the
    precision. Once full, the cache keeps its content: in a random order all frames are equally
    likely to recur.

    Frames pass through the network one by one, so that a map does not depend on the batch, and a
    resumed training, which starts with an empty cache, computes the same result.

    Args:
        network: Maps images (N, 3, H, W), and their samples, to one map (N, C_l, H_l, W_l) per
            level.
        gigabytes: Bound on the maps' host memory (1 GB = 10^9 bytes).
        strides: Strides of the levels, by which maps are cropped.
        divisor: Divisor of the sides of a frame that is padded alone.
    """

    def __init__(
        self,
        network: Callable[..., tuple[Tensor, ...]],
        gigabytes: float,
        strides: Sequence[float] = (),
        divisor: int = 1,
    ) -> None:
        self.network, self.strides, self.divisor = network, strides, divisor
        self.size = int(gigabytes * 1e9)
        self.clear()

    def __len__(self) -> int:
        return len(self._maps)

    def clear(self) -> None:
        self._maps: dict[tuple, tuple[Tensor, ...]] = {}
        self._free = self.size

    @torch.no_grad()
    def __call__(self, images: Tensor, samples: SampleList) -> tuple[Tensor, ...]:
        """Return the network's maps of images (N, 3, H, W), without gradient.

        Sample i modulo their number belongs to image i. If it has a ``crop_window``, the network
        gets the whole image, without the padding to the batch's size, and its maps are cropped.
        """
        kind, frames = images.device.type, []
        half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        for index, image in enumerate(images.split(1)):
            sample, crops = samples[index % len(samples)], 'crop_window' in samples[0]
            if crops:
                height, width = (-(-n // self.divisor) * self.divisor for n in sample.img_shape[:2])
                image = image[..., :height, :width]
            noted = sample.get('digests')  # key frames precede current frames
            content = noted[-(index // len(samples))] if noted else digest_of(image)
            key = image.shape, sample.img_shape, content, half
            maps = self._maps.get(key)
            if maps is None:
                maps = tuple(level.cpu() for level in self.network(image, [sample]))
                size = sum(level.nbytes for level in maps)
                if size <= self._free:
                    self._free -= size
                    self._maps[key] = maps
            if crops:
                levels = zip(maps, self.strides, strict=True)
                maps = tuple(_cropped(level, sample, stride) for level, stride in levels)
            frames.append(maps)
        return tuple(torch.cat(level).to(images.device) for level in zip(*frames, strict=True))
