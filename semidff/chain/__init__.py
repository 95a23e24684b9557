"""A chain: several trainings, then the rows of semi-DFF's Table 1 (`tools/chain.py`)."""

from .report import collect, write_report
from .runner import ChainRunner, StepFailed
from .spec import Chain, load_chain
from .table import Cell, Entry, Measurement, build_table

__all__ = [
    'Cell',
    'Chain',
    'ChainRunner',
    'Entry',
    'Measurement',
    'StepFailed',
    'build_table',
    'collect',
    'load_chain',
    'write_report',
]
