"""Optimizers and their wrappers."""

from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .rmsprop import RMSpropMX
