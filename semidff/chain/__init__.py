"""A chain: several trainings, then the rows of semi-DFF's Table 1; curves of accuracy over speed."""

from .curve import Curve, Run, build_curve
from .report import collect, write_curve, write_report
from .runner import ChainRunner, StepFailed
from .spec import Chain, build_chain, load_chain
from .table import Cell, Entry, Measurement, build_table

__all__ = [
    'Cell',
    'Chain',
    'ChainRunner',
    'Curve',
    'Entry',
    'Measurement',
    'Run',
    'StepFailed',
    'build_chain',
    'build_curve',
    'build_table',
    'collect',
    'load_chain',
    'write_curve',
    'write_report',
]
