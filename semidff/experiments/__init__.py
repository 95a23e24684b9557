"""Experiments: several trainings, the rows of semi-DFF's Table 1, and curves of accuracy over speed."""

from .curve import Run, build_curve
from .experiment import Experiment
from .report import write_curve, write_report
from .runner import ExperimentRunner, StepFailed
from .spec import build_experiment, load_experiment
from .table import Cell, Entry, Measurement, build_table, collect
