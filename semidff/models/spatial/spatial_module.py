"""The spatial module: any mmdet detector, cut into feature network and task network (semi-DFF 3.2; DFF section 3)."""

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import SampleList
from mmengine.model import BaseModule
from torch import Tensor, nn

from .head_outputs import HeadOutputs, flatten_dense
from .raw_outputs import given_raw_outputs, raw_outputs
from .replaced import replaced
from .split import Split


class SpatialModule(BaseModule):
    """Adapter that runs an mmdet detector on features instead of images.

    Nothing outside this class knows what kind of detector it holds, nor where its split cuts it. ``features`` are
    what :meth:`features` returns and the temporal module propagates. ``inputs``, those of the heads, are what
    :meth:`finish` makes of them; at the default split they are the same.

    Args:
        detector: An mmdet detector or its config.
        split: Where N_feat ends, a :class:`~semidff.models.spatial.split.Split` or its config; None cuts ahead of the
            heads. The state dict is the same at all splits.
    """

    def __init__(self, detector: dict | nn.Module, split: dict | Split | None = None) -> None:
        super().__init__()
        self.detector = detector if isinstance(detector, nn.Module) else MODELS.build(detector)
        if not isinstance(split, Split):
            split = TASK_UTILS.build(split or dict(type='ExtractFeatSplit'))
        split.check(self.detector)
        self.split = split

    @property
    def feature_network(self) -> list[nn.Module]:
        """Modules of N_feat."""
        names = self.split.feature_names(self.detector)
        return [self.detector.get_submodule(name) for name in names]

    @property
    def task_network(self) -> dict[str, nn.Module]:
        """Modules of N_task by dotted name."""
        return self.split.task_modules(self.detector)

    @property
    def is_two_stage(self) -> bool:
        """Whether there are RoIs behind the dense head."""
        return getattr(self.detector, 'with_rpn', False)

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """N_feat: images (N, 3, H, W) to one map (N, C_l, H_l, W_l) per level."""
        return self.split.features(self.detector, images)

    def finish(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """N_task as far as the heads: from features to the heads' inputs."""
        return self.split.finish(self.detector, features)

    def predict(self, features: Sequence[Tensor], samples: SampleList) -> SampleList:
        """N_task with post-processing: fills ``pred_instances``, boxes in original image coordinates."""
        with self._given(features):
            return self.detector.predict(features[0], samples, rescale=True)

    def raw_outputs(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """N_task up to its post-processing: maps by name, see :func:`~semidff.models.spatial.raw_outputs.raw_outputs`.

        Raises:
            TypeError: If the detector has no dense head, or one whose outputs are not maps.
        """
        return raw_outputs(self.detector, self.finish(features))

    def predict_raw(self, raw: Mapping[str, Tensor], samples: SampleList) -> SampleList:
        """The post-processing alone: what :meth:`predict` gives for the features of these :meth:`raw_outputs`."""
        with given_raw_outputs(self.detector, raw):
            return self.detector.predict(next(iter(raw.values())), samples, rescale=True)

    def loss(self, features: Sequence[Tensor], samples: SampleList) -> dict:
        """The detector's own supervised losses on given features (semi-DFF Eqs. 2 and 3)."""
        with self._given(features):
            return self.detector.loss(features[0], samples)

    def proposals(self, inputs: Sequence[Tensor], samples: SampleList) -> list | None:
        """Proposals with the test settings, as distillation wants them; None for a single-stage detector.

        Args:
            inputs: Of the heads, from :meth:`finish`.
            samples: Data samples of the frames.
        """
        if not self.is_two_stage:
            return None
        return self.detector.rpn_head.predict(inputs, samples, rescale=False)

    def head_outputs(
        self, inputs: Sequence[Tensor], samples: SampleList, proposals: list | None
    ) -> HeadOutputs:
        """Raw outputs of all heads.

        Args:
            inputs: Of the heads, from :meth:`finish`.
            samples: Data samples of the frames.
            proposals: What :meth:`proposals` of the *teacher* returned; student and teacher pool the same RoIs.

        Raises:
            TypeError: If the detector has no dense head whose outputs can be compared anchor by anchor.
        """
        head = getattr(self.detector, 'rpn_head' if self.is_two_stage else 'bbox_head', None)
        if not hasattr(head, 'cls_out_channels'):
            raise TypeError(
                f'{type(self.detector).__name__} has no dense head, so there is nothing for the semantic loss to '
                'compare; train it with the regression loss alone'
            )
        dense = flatten_dense(head, head(inputs))
        if proposals is None:
            return HeadOutputs(*dense)
        roi_logits, roi_boxes, *_ = self.detector.roi_head.forward(inputs, proposals, samples)
        return HeadOutputs(*dense, roi_logits, roi_boxes)

    def with_own_task_network(self) -> 'SpatialModule':
        """A twin that *shares* the feature network with this module and has a copy of the task network."""
        memo = {id(module): module for module in self.feature_network}
        return SpatialModule(copy.deepcopy(self.detector, memo), self.split)

    def _given(self, features: Sequence[Tensor]) -> AbstractContextManager:
        """Lets the detector find what its heads read where it would compute that from images."""
        return replaced(self.detector, 'extract_feat', self.finish(features))
