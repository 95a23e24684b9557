"""semi-DFF's second stage: distillation from the video detector's own frozen spatial module (semi-DFF 3.4)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import cycle

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor, nn

from .data_preprocessor import digest_of
from .objectives import Distillation, FeatureSemantics
from .spatial import SpatialModule, plain_samples
from .spatial.spatial_module import probe
from .video_detector import PARTS, VideoDetector


@MODELS.register_module()
class SemiDFF(VideoDetector):
    """Video detector with its teacher.

    The teacher is the spatial module of stage one and never changes. Its task network is a copy, ``teacher_task``,
    since the semantic step trains the student's. Its feature network *is* the student's, stored once in memory and in
    checkpoints, unless the feature network is trained (Table 3e): then it is a copy, too, ``teacher_features``.
    The spatial module is always in eval mode, so that its batch-norm statistics never change.

    Args:
        objectives: Configs of the losses, which are added (joint training, Table 3f); see
            :mod:`semidff.models.objectives`. Weights that get no gradient from them are frozen.
        trainable: Parts that are trained, as in :class:`VideoDetector`; ``temporal`` by default.
        both_directions: Whether to train on each pair in both directions; the features of both frames are computed
            anyway.
        feature_cache: Gigabytes of host memory per process for a :class:`FeatureCache`, 0 for none. It pays off if a
            good part of the training frames fits, without random crops or sizes; crops by
            :class:`~semidff.datasets.transforms.RandomCropWindow` are possible. Not used if the feature network is
            trained.
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
        self.both_directions = both_directions
        self.feature_cache = (
            FeatureCache(self.spatial.features, feature_cache) if feature_cache else None
        )
        self.data_preprocessor.notes_content = bool(feature_cache)
        self.teacher_features: nn.ModuleList | None = None
        self._set_teacher(self.spatial.with_own_task_network())
        self.set_objectives(objectives, trainable)

    def _set_teacher(self, teacher: SpatialModule) -> None:
        teacher.requires_grad_(False).eval()
        self.teacher_task = nn.ModuleDict(_without_dots(teacher.task_network))
        # Not registered as a submodule: the feature network must not appear twice in the state dict.
        object.__setattr__(self, 'teacher', teacher)

    def init_weights(self) -> None:
        super().init_weights()
        self.reset_teacher()

    def own_teacher_features(self) -> None:
        """Give the teacher a copy of the feature network, if it has none."""
        if self.teacher_features is None:
            # Weights of no part have no values yet and are in no checkpoint: they stay those of the student.
            self._set_teacher(self.teacher.with_own_task_network(own_features=True))
            self.teacher_features = nn.ModuleList(self.teacher.feature_network)
            self._forget_features()

    def reset_teacher(self, keep: Collection[str] = ()) -> None:
        """Copy the present spatial module to the teacher, except for its parts ``keep``: their weights were loaded."""
        self._forget_features()
        if 'teacher_task' not in keep:
            for name, module in _without_dots(self.spatial.task_network).items():
                self.teacher_task[name].load_state_dict(module.state_dict())
        if self.teacher_features is not None and 'teacher_features' not in keep:
            student = nn.ModuleList(self.spatial.feature_network)
            self.teacher_features.load_state_dict(student.state_dict())

    def set_objectives(self, objectives: Sequence[dict], trainable: Sequence[str]) -> None:
        """Set the losses and the parts that they train; removes gradients.

        Raises:
            ValueError: The parts have no weights that the losses depend on.
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
        for weight in self._without_gradient():
            weight.requires_grad = False
        self.zero_grad(set_to_none=True)
        if objectives and not any(weight.requires_grad for weight in self.parameters()):
            raise ValueError(
                f'trainable={list(trainable)}: these parts have no weights at this split point that the objectives '
                "depend on; add 'temporal'"
            )

    def _without_gradient(self) -> list[nn.Parameter]:
        """Return the trainable weights that get no gradient from the objectives.

        Such weights are those of outputs that are left out, or that only mmdet's own losses use, and a correction's
        weights of maps that no output depends on. Semantic losses are computed once to find them; all other objectives
        compare all maps.
        """
        semantics = [one for one in self.objectives if isinstance(one, FeatureSemantics)]
        if not semantics or next(self.parameters()).is_meta:
            return []
        modules = [*self.spatial.task_network.values()]
        modules += [self.temporal] if len(semantics) == len(self.objectives) else []
        weights = [p for module in modules for p in module.parameters() if p.requires_grad]
        self.zero_grad(set_to_none=True)
        probe(self, partial(self._add_gradients, semantics))
        return [weight for weight in weights if weight.grad is None]

    def _add_gradients(self, objectives: Sequence[FeatureSemantics], images: Tensor) -> None:
        samples = plain_samples(len(images), tuple(images.shape[-2:]))
        features = self.spatial.features(images)
        with torch.enable_grad():
            propagated = self.propagate(images, images, features, samples)
            batch = self._distillation(propagated, features, samples)
            total = sum(loss for each in objectives for loss in each(batch).values())
            if total.requires_grad:
                total.backward()  # backbones with checkpoints do not take torch.autograd.grad()

    def _distillation(self, *batch) -> Distillation:
        return Distillation(self.spatial, self.teacher, *batch, test_cfg=self.non_key_test_cfg)

    def train(self, mode: bool = True) -> 'SemiDFF':
        super().train(mode)
        self.spatial.eval()
        self.teacher.eval()
        self.teacher_task.eval()
        return self

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Compute the objectives on unlabeled pairs (N, 2, 3, H, W) or triplets (N, 3, 3, H, W)."""
        if not self.objectives:
            raise RuntimeError('SemiDFF has no losses: set model.objectives or train_cfg.steps')
        frames, samples = batch_inputs.unbind(1), batch_data_samples
        features, target = self._features_and_target(frames[0], frames[-1], samples)
        if 'crop_window' in samples[0]:
            frames = [_cropped(images, samples) for images in frames]
            samples = [sample.new() for sample in samples]
            for sample in samples:
                keys = ('img_shape', 'batch_input_shape', 'pad_shape')
                sample.set_metainfo(dict.fromkeys(keys, sample.crop_window[2:]))
        key, *middle, current = frames
        if self.both_directions:
            key, current = torch.cat((key, current)), torch.cat((current, key))
            middle = [torch.cat((frame, frame)) for frame in middle]
            samples = [*samples, *samples]
        propagated = self.propagate(key, current, features, samples)
        halfway = [self.propagate(key, frame, features, samples) for frame in middle]
        batch = self._distillation(propagated, target, samples, (features, *halfway, propagated))
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
        student, teacher = self.spatial.features, self.teacher.features
        if self.teacher_features is None and self.feature_cache is not None:
            noted = [sample.get('digests', ()) for sample in samples]
            digests = [frames[place] for place in (0, -1) for frames in noted if frames]
            student = partial(self.feature_cache, digests=iter(digests))
        if 'crop_window' in samples[0]:
            student, teacher = (partial(self._crops, network) for network in (student, teacher))
        if self.teacher_features is None:
            with torch.no_grad():  # one pass over all frames
                maps = student(torch.cat((key, current)), samples)
            halves = [level.chunk(2) for level in maps]
            if self.both_directions:
                return tuple(maps), tuple(torch.cat((second, first)) for first, second in halves)
            return tuple(first for first, _ in halves), tuple(second for _, second in halves)
        if self.both_directions:
            key, current = torch.cat((key, current)), torch.cat((current, key))
        trained = any(p.requires_grad for m in self.part('feature_network') for p in m.parameters())
        with torch.set_grad_enabled(trained):
            features = student(key, samples)
        with torch.no_grad():
            return features, teacher(current, samples)

    def _crops(
        self, network: Callable[..., tuple], images: Tensor, samples: SampleList
    ) -> tuple[Tensor, ...]:
        """Return a feature network's maps of whole images, cropped to the windows of their samples.

        Image i belongs to sample i modulo the number of samples.
        """
        divisor, whole = self.data_preprocessor.pad_size_divisor, []
        for image, sample in zip(images, cycle(samples), strict=False):
            # Without the padding to the batch's size, so that the cache knows the frame again.
            height, width = (-(-side // divisor) * divisor for side in sample.img_shape[:2])
            whole.append([maps[0] for maps in network(image[None, :, :height, :width], [sample])])
        levels = zip(zip(*whole, strict=True), self.temporal.feat_strides, strict=True)
        return tuple(_cropped(maps, samples, stride) for maps, stride in levels)

    def _forget_features(self) -> None:
        if self.feature_cache is not None:
            self.feature_cache.clear()


def _without_dots(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Rename modules for a ModuleDict, which takes no dots in names: ``backbone_layer4_2``."""
    return {name.replace('.', '_'): module for name, module in modules.items()}


def _cropped(maps: Iterable[Tensor], samples: SampleList, stride: float = 1) -> Tensor:
    """Crop maps (C, H, W) to the windows of their samples; map i belongs to sample i modulo their number.

    Windows are top, left, height and width in pixels, multiples of the stride.
    """
    crops = []
    for whole, sample in zip(maps, cycle(samples), strict=False):
        top, left, height, width = (-int(-side // stride) for side in sample.crop_window)
        crop = whole[..., top : top + height, left : left + width]
        # A network that rounds sides down has no cell for the last pixels of a frame.
        missing = (0, width - crop.shape[-1], 0, height - crop.shape[-2])
        crops.append(F.pad(crop, missing, 'replicate') if any(missing) else crop)
    return torch.stack(crops)


class FeatureCache:
    """Runs a frozen feature network once per frame, as far as memory allows.

    The frozen feature network costs more than the forward and backward pass of the temporal module. The cache's key is
    a frame's content, so that it is correct with any augmentation, and the precision. Once full, the cache keeps its
    content: in a random order all frames are equally likely to recur.

    Frames pass through the network one by one, so that a map does not depend on the batch, and a resumed training,
    which starts with an empty cache, computes the same result.

    Args:
        network: Maps images (N, 3, H, W), and their samples, to one map (N, C_l, H_l, W_l) per level.
        gigabytes: Bound on the maps' host memory (1 GB = 10^9 bytes).
    """

    def __init__(self, network: Callable[..., tuple[Tensor, ...]], gigabytes: float) -> None:
        self.network = network
        self.size = int(gigabytes * 1e9)
        self.clear()

    def __len__(self) -> int:
        return len(self._maps)

    def clear(self) -> None:
        self._maps: dict[tuple, tuple[Tensor, ...]] = {}
        self._free = self.size

    @torch.no_grad()
    def __call__(
        self, images: Tensor, samples: SampleList, digests: Iterator[bytes] | None = None
    ) -> tuple[Tensor, ...]:
        """Return the network's maps of images (N, 3, H, W), without gradient.

        Args:
            samples: Sample i modulo their number belongs to image i.
            digests: Of the frames, of which the next N are taken; without them, the images' own are computed.
        """
        kind, frames = images.device.type, []
        half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        for image, sample in zip(images.split(1), cycle(samples), strict=False):
            noted = digests and next(digests, None)
            key = (image.shape, sample.img_shape, noted or digest_of(image), half)
            maps = self._maps.get(key)
            if maps is None:
                maps = tuple(level.cpu() for level in self.network(image, [sample]))
                size = sum(level.nbytes for level in maps)
                if size <= self._free:
                    self._free -= size
                    self._maps[key] = maps
            frames.append(maps)
        return tuple(torch.cat(level).to(images.device) for level in zip(*frames, strict=True))
