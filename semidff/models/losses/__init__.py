from .end_point_error import end_point_error
from .regression import l1_regression_loss, regression_loss, steady_loss
from .semantic import binary_distillation_loss, box_distillation_loss, class_distillation_loss
