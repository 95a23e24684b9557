"""A chain: several trainings, then the rows of semi-DFF's Table 1; curves of accuracy over speed."""

from .curve import Curve, Run, build_curve
from .report import collect, write_curve, write_report
from .runner import ExperimentRunner, StepFailed
from .spec import Chain, build_experiment, load_experiment
from .table import Cell, Entry, Measurement, build_table

__all__ = [
    'Cell',
    'Chain',
    'ExperimentRunner',
    'Curve',
    'Entry',
    'Measurement',
    'Run',
    'StepFailed',
    'build_experiment',
    'build_curve',
    'build_table',
    'collect',
    'load_experiment',
    'write_curve',
    'write_report',
]
