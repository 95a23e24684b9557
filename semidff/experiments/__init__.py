"""Experiments: several trainings, the rows of semi-DFF's Table 1, and curves of accuracy over speed."""

from .experiment import Experiment, ExperimentError, load_experiment, load_runs
from .runner import ExperimentRunner, StepFailed
