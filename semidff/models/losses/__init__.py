from .end_point_error import end_point_error
from .regression import l1_regression_loss, regression_loss
from .semantic import box_distillation_loss, class_distillation_loss

__all__ = [
    'box_distillation_loss',
    'class_distillation_loss',
    'end_point_error',
    'l1_regression_loss',
    'regression_loss',
]
