"""Objectives of a distillation step: the regression loss and the semantic loss (semi-DFF 3.4)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor

from .losses import binary_distillation_loss, box_distillation_loss, class_distillation_loss
from .spatial import HeadOutput, SpatialModule


class Teacher:
    """The spatial module of stage one, which never changes.

    Its task network is a copy, since the semantic step trains the student's. Its feature network
    *is* the student's, stored once in memory and in checkpoints, unless ``own_features`` asks for a
    copy.
    """

    def __init__(self, student: SpatialModule, own_features: bool = False) -> None:
        self.own_features = own_features
        self.spatial = student.with_own_task_network(own_features).requires_grad_(False).eval()

    @torch.no_grad()
    def features(self, images: Tensor, samples: SampleList) -> tuple[Tensor, ...]:
        return self.spatial.features(images, samples)

    def outputs(
        self, features: Sequence[Tensor], samples: SampleList, test_cfg: dict, limit: int | None
    ) -> tuple[list[HeadOutput], list | None]:
        """Return what the semantic loss compares, and each image's ``limit`` best proposals."""
        return self.spatial.head_outputs(features, samples, None, test_cfg, limit)


class Distillation(NamedTuple):
    """Student and teacher on a batch of current frames.

    Attributes:
        propagated: Propagated features, (N, C, H_l, W_l) per level.
        target: The teacher's features of the current frames, likewise.
        sequence: The student's features of the key frames, the features propagated to the middle
            frames of triplets, and ``propagated``.
        test_cfg: Test settings of non-key frames, which select the proposals.
    """

    student: SpatialModule
    teacher: Teacher
    propagated: Sequence[Tensor]
    target: Sequence[Tensor]
    samples: SampleList
    sequence: Sequence[Sequence[Tensor]] = ()
    test_cfg: dict | None = None

    def comparable(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return features whose errors have one unit, that of the teacher's."""
        return self.student.split.comparable(features, self.target)


@MODELS.register_module()
class FeatureRegression:
    """Feature regression loss L_reg (Eq. 4) of the propagated features to the teacher's.

    The mean over all elements; no gradient reaches the teacher's. As in Eq. 4, there is neither a
    factor 1/2 nor a mask of cells that were sampled outside of the key frame's map. Outputs with
    different units (``OutputSplit``) are made comparable first.

    Args:
        norm: ``l2``, mean squared differences, or ``l1``, mean absolute differences (Table 3b).
        weight: Factor on the loss.
    """

    def __init__(self, norm: str = 'l2', weight: float = 1.0) -> None:
        self.loss = dict(l2=F.mse_loss, l1=F.l1_loss)[norm]
        self.weight = weight

    def __call__(self, batch: Distillation) -> dict[str, Tensor]:
        maps = map(batch.comparable, (batch.propagated, batch.target))
        levels = [self.loss(p, t.detach()) for p, t in zip(*maps, strict=True)]
        return dict(loss_reg=self.weight * sum(levels) / len(levels))


@MODELS.register_module()
class SteadyFeatures:
    """Steady feature loss (Table 3b): features change steadily over a triplet of frames.

    The mean squared second difference, "steady feature loss" of Jayaraman and Grauman 2016. The
    teacher's features of the current frame are not used. Features that never change, as with zero
    flow, have no loss.
    """

    def __call__(self, batch: Distillation) -> dict[str, Tensor]:
        if len(batch.sequence) != 3:
            raise ValueError(
                'SteadyFeatures needs triplets: set triplets=True of UnlabeledVideoDataset'
            )
        sequences = zip(*map(batch.comparable, batch.sequence), strict=True)
        levels = [F.mse_loss(last - middle, middle - key) for key, middle, last in sequences]
        return dict(loss_steady=sum(levels) / len(levels))


@MODELS.register_module()
class FeatureSemantics:
    """Feature semantic loss L_sem (Eqs. 5-9) of the heads' outputs to the teacher's.

    Student and teacher are compared on the same anchors and on the same RoIs: the teacher's
    proposals on the current frame, with the test settings of non-key frames, of which
    ``proposals_per_image`` can select the best.

    Args:
        temperature: T of Eq. 7. The text ``'inf'`` is infinity, for configs: mmengine cannot read a
            dumped ``inf``.
        box_weight: lambda of Eq. 6. Box losses are means over all outputs; Eq. 9 states a sum, and
            the authors take means as well.
        roi_box_weight: The same for the RoIs' boxes, by default ``box_weight``. The authors' R-FCN
            has 8 box outputs per RoI, of which the 4 of the background are not used: their mean
            gives the other 4 half the weight that they have in heads with 4 outputs, 0.5 here.
        attention: Whether to compare class and quality scores of the dense head ("attention maps"
            in Table 3c).
        classes: Whether to compare class scores of the RoIs ("inter-class relationship").
        boxes: Whether to compare box outputs of the dense head and of the RoIs ("bbox accurate
            location"), and masks.
        weight: Factor on all losses.
        proposals_per_image: Number of an image's best proposals that are compared, None for all.
            The RoI head of a two-stage detector takes much of a training's time. Of no effect on
            single-stage detectors.
    """

    def __init__(
        self,
        temperature: float | str = 1.0,
        box_weight: float = 1.0,
        roi_box_weight: float | None = None,
        attention: bool = True,
        classes: bool = True,
        boxes: bool = True,
        weight: float = 1.0,
        proposals_per_image: int | None = None,
    ) -> None:
        self.temperature = float(temperature)
        self.weights: dict[str, float] = {}  # by the role of an output
        if attention:
            self.weights['attention'] = weight
        if classes:
            self.weights['classes'] = weight
        if boxes:
            self.weights['boxes'] = weight * box_weight
            rois = box_weight if roi_box_weight is None else roi_box_weight
            self.weights['roi_boxes'] = weight * rois
        self.proposals_per_image = proposals_per_image

    def __call__(self, batch: Distillation) -> dict[str, Tensor]:
        teachers, proposals = batch.teacher.outputs(
            batch.target, batch.samples, batch.test_cfg, self.proposals_per_image
        )
        students, _ = batch.student.head_outputs(batch.propagated, batch.samples, proposals)
        losses = {}
        for student, teacher in zip(students, teachers, strict=True):
            if teacher.role in self.weights:
                loss = self.weights[teacher.role] * self._loss(student, teacher)
                losses[f'loss_{teacher.name}'] = loss
        if not losses:
            raise ValueError(
                f'FeatureSemantics compares none of the outputs {[t.name for t in teachers]}: '
                'classes selects the scores of RoIs, attention those of all other heads'
            )
        return losses

    def _loss(self, student: HeadOutput, teacher: HeadOutput) -> Tensor:
        if not len(teacher.values):  # no RoIs; the graph must still reach all weights
            return student.values.sum() * 0
        weight = None if teacher.weight is None else teacher.weight.detach()
        if teacher.kind == 'offsets':
            unit = teacher.unit.detach() if isinstance(teacher.unit, Tensor) else teacher.unit
            values = student.values.float() / unit, teacher.values.float() / unit
            return box_distillation_loss(*values, weight)
        divergence = dict(softmax=class_distillation_loss, sigmoid=binary_distillation_loss)
        # The temperature softens class scores, not distributions of distances and masks.
        temperature = self.temperature if teacher.role in ('attention', 'classes') else 1.0
        return divergence[teacher.kind](student.values, teacher.values, temperature, weight)
