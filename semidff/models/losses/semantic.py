"""The parts of the feature semantic loss (semi-DFF Eqs. 5-9).

Where the paper and the authors' code differ, these follow the code (and say so): class losses are divided by the
number of anchors or RoIs and multiplied by T squared, so that their gradient hardly depends on T; they are
Kullback-Leibler divergences, which differ from Eq. 8's cross-entropy by the teacher's entropy, a constant, and are
zero when student and teacher agree; box losses are means over all outputs, background included.
"""

import torch.nn.functional as F
from torch import Tensor


def class_distillation_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Divergence of the student's softened class distribution from the teacher's (Eqs. 7 and 8).

    Args:
        student: Pre-activations of shape (..., C); the last dimension holds the classes.
        teacher: The teacher's pre-activations, same shape; no gradient flows into them.
        temperature: T > 0 of Eq. 7. ``float('inf')`` gives the logit regression of Table 3d, the limit of the
            loss: half the squared distance of the centered logits, divided by C.

    Returns:
        Scalar: mean over all rows of ``KL(P_t || P_s) * T ** 2``.

    Raises:
        ValueError: If the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f'the temperature must be positive, got {temperature}')
    teacher = teacher.detach()
    classes = student.shape[-1]
    student, teacher = student.reshape(-1, classes), teacher.reshape(-1, classes)
    if temperature == float('inf'):
        difference = student - teacher
        return (difference - difference.mean(1, keepdim=True)).square().mean() / 2
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction='batchmean', log_target=True)
    return divergence * temperature**2


def box_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of raw (normalized) box outputs (Eq. 9), over all anchors or RoIs.

    Args:
        student: Box deltas of any shape.
        teacher: The teacher's deltas, same shape; no gradient flows into them.
    """
    return F.mse_loss(student, teacher.detach())
