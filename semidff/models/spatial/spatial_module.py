"""The spatial module: any mmdet detector, cut into feature network and task network (semi-DFF 3.2; DFF section 3)."""

import copy
from collections.abc import Sequence
from contextlib import contextmanager

from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.model import BaseModule
from torch import Tensor, nn

from .head_outputs import HeadOutputs, flatten_dense


class SpatialModule(BaseModule):
    """Adapter that runs an mmdet detector on features instead of images.

    Every mmdet detector computes ``extract_feat(images)`` and goes on with the features alone; that is the split
    point. Nothing outside this class knows what kind of detector it holds.

    Args:
        detector: An mmdet detector or its config.
        feature_modules: Names of the detector's children that ``extract_feat`` uses; all others are the task network.
    """

    def __init__(
        self, detector: dict | nn.Module, feature_modules: Sequence[str] = ('backbone', 'neck')
    ) -> None:
        super().__init__()
        self.detector = detector if isinstance(detector, nn.Module) else MODELS.build(detector)
        self.feature_modules = tuple(feature_modules)

    @property
    def feature_network(self) -> list[nn.Module]:
        """Modules of N_feat."""
        return [m for n, m in self.detector.named_children() if n in self.feature_modules]

    @property
    def task_network(self) -> dict[str, nn.Module]:
        """Modules of N_task by name."""
        return {
            name: module
            for name, module in self.detector.named_children()
            if name not in self.feature_modules and name != 'data_preprocessor'
        }

    @property
    def is_two_stage(self) -> bool:
        """Whether there are RoIs behind the dense head."""
        return getattr(self.detector, 'with_rpn', False)

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """N_feat: images (N, 3, H, W) to one map (N, C_l, H_l, W_l) per level."""
        return tuple(self.detector.extract_feat(images))

    def predict(self, features: Sequence[Tensor], samples: SampleList) -> SampleList:
        """N_task with post-processing: fills ``pred_instances``, boxes in original image coordinates."""
        with self._given(features):
            return self.detector.predict(features[0], samples, rescale=True)

    def loss(self, features: Sequence[Tensor], samples: SampleList) -> dict:
        """The detector's own supervised losses on given features (semi-DFF Eqs. 2 and 3)."""
        with self._given(features):
            return self.detector.loss(features[0], samples)

    def proposals(self, features: Sequence[Tensor], samples: SampleList) -> list | None:
        """Proposals with the test settings, as distillation wants them; None for a single-stage detector."""
        if not self.is_two_stage:
            return None
        return self.detector.rpn_head.predict(features, samples, rescale=False)

    def head_outputs(
        self, features: Sequence[Tensor], samples: SampleList, proposals: list | None
    ) -> HeadOutputs:
        """Raw outputs of all heads.

        Args:
            features: One map per level.
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
        dense = flatten_dense(head, head(features))
        if proposals is None:
            return HeadOutputs(*dense)
        roi_logits, roi_boxes, *_ = self.detector.roi_head.forward(features, proposals, samples)
        return HeadOutputs(*dense, roi_logits, roi_boxes)

    def with_own_task_network(self) -> 'SpatialModule':
        """A twin that *shares* the feature network with this module and has a copy of the task network."""
        memo = {id(module): module for module in self.feature_network}
        return SpatialModule(copy.deepcopy(self.detector, memo), self.feature_modules)

    @contextmanager
    def _given(self, features: Sequence[Tensor]):
        """Lets the detector find ``features`` where it would compute them."""
        self.detector.extract_feat = lambda _: tuple(features)
        try:
            yield
        finally:
            del self.detector.extract_feat
