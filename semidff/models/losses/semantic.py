"""Parts of the feature semantic loss (semi-DFF Eqs. 5-9).

They follow the authors' code where it differs from the paper:

- class losses are divided by the number of anchors or RoIs and multiplied by T squared, so that their gradient hardly
  depends on T;
- class losses are Kullback-Leibler divergences, which are zero if student and teacher agree. They differ from Eq. 8's
  cross-entropy by the teacher's entropy, a constant;
- box losses are means over all outputs, background included.
"""

import torch.nn.functional as F
from torch import Tensor


def class_distillation_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the divergence of the student's softened class distribution from the teacher's (Eqs. 7 and 8).

    Args:
        student: Logits of shape (..., C).
        teacher: The teacher's logits, same shape; no gradient flows into them.
        temperature: T > 0 of Eq. 7. ``float('inf')`` gives the limit of the loss, the logit regression of Table 3d:
            half the squared distance of the centered logits, divided by C.

    Returns:
        Scalar, the mean of ``KL(P_t || P_s) * T ** 2`` over all rows.

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
    """Return the mean squared difference of box outputs before decoding (Eq. 9), over all anchors or RoIs.

    Args:
        student: Box outputs of any shape.
        teacher: The teacher's box outputs, same shape; no gradient flows into them.
    """
    return F.mse_loss(student, teacher.detach())
