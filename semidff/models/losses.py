"""Parts of the feature semantic loss (semi-DFF Eqs. 5-9), and the loss of flow networks.

The semantic losses follow the authors' code where it differs from the paper:

- class losses are divided by the number of anchors or RoIs and multiplied by T squared, so that
  their gradient hardly depends on T;
- class losses are Kullback-Leibler divergences, which are zero if student and teacher agree. They
  differ from Eq. 8's cross-entropy by the teacher's entropy, a constant;
- box losses are means over all outputs, background included, unless weights are given.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

WHOLE_OBJECT = 10
"""Size of an object in the unit of box outputs, about a tenth of it."""


def class_distillation_loss(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Return the divergence of the student's softened classes from the teacher's (Eqs. 7 and 8).

    Args:
        student: Logits of shape (..., C), like ``teacher``, into which no gradient flows.
        temperature: T > 0 of Eq. 7. ``float('inf')`` gives the limit of the loss, the logit
            regression of Table 3d: half the squared distance of the centered logits, divided by C.
        weight: Weights of the rows, a number or one per row; None for the mean over all rows.

    Returns:
        Scalar, the weighted sum of ``KL(P_t || P_s) * T ** 2``.
    """
    teacher = teacher.detach()
    classes, dtype = student.shape[-1], torch.promote_types(student.dtype, torch.float32)
    student, teacher = student.reshape(-1, classes), teacher.reshape(-1, classes)
    if temperature == float('inf'):
        difference = student - teacher
        square = (difference - difference.mean(1, keepdim=True)).square()
        return (square.mean() if weight is None else _total(square / classes, weight)) / 2
    if temperature > 1:
        # Softened distributions are nearly equal; float32 would lose the last digits of their
        # divergence.
        student, teacher = student.double(), teacher.double()
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction='none', log_target=True)
    return (_total(divergence, weight) * temperature**2).to(dtype)


def binary_distillation_loss(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Return the divergence of independent binary distributions, summed over the columns.

    A sigmoid is the two-class softmax of (logit, 0); this is :func:`class_distillation_loss` of
    these.
    """
    teacher, dtype = teacher.detach(), torch.promote_types(student.dtype, torch.float32)
    if temperature == float('inf'):
        return _total((student - teacher).square() / 8, weight)
    precise = torch.float64 if temperature > 1 else dtype
    student, teacher = (logits.to(precise) / temperature for logits in (student, teacher))
    # p_t log(p_t / p_s) + (1 - p_t) log((1 - p_t) / (1 - p_s)); a softmax over two columns takes
    # ten times as long
    divergence = F.logsigmoid(teacher) - F.logsigmoid(student)
    divergence = divergence + torch.sigmoid(-teacher) * (student - teacher)
    return (_total(divergence, weight) * temperature**2).to(dtype)


def box_distillation_loss(student: Tensor, teacher: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean squared difference of box outputs before decoding (Eq. 9).

    Args:
        student: Box outputs (..., D), like ``teacher``, into which no gradient flows.
        weight: Weights of the rows, a number or one per row, for a sum of the rows' means; None for
            the mean over all rows. With weights, differences of more than :data:`WHOLE_OBJECT`
            count linearly: the teacher's box may be much smaller than the object, and a few such
            rows would be most of the loss.
    """
    if weight is None:
        return F.mse_loss(student, teacher.detach())
    square = 2 * F.huber_loss(student, teacher.detach(), reduction='none', delta=WHOLE_OBJECT)
    return _total(square / square.shape[-1], weight)


def end_point_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean Euclidean distance of two flow fields (N, 2, H, W), in their unit."""
    # The square root has no gradient at 0, the error of zero flow without motion.
    return torch.sqrt((predicted - target).square().sum(1) + 1e-12).mean()


def typical_size(maps: Tensor, dims: Sequence[int]) -> Tensor:
    """Return the standard deviation over some dimensions, at least a tenth of the root mean square.

    It is the unit of outputs of different kinds. The root mean square serves those that hardly
    vary.
    """
    maps = maps.detach().float()
    deviation = maps.std(dims, correction=0)
    return torch.maximum(deviation, maps.square().mean(dims).sqrt() / 10).clamp(min=1e-6)


def _total(terms: Tensor, weight: Tensor | None) -> Tensor:
    """Sum terms (R, C) over the columns; then return the weighted sum or the mean of the rows."""
    return terms.sum() / len(terms) if weight is None else (terms.sum(1) * weight).sum()
