"""Supervised Deep Feature Flow beside semi-DFF in the generated world (DFF Tables 3, 4; semi-DFF Tables 2, 4).

python tools/run_experiment.py configs/quickstart/experiment_dff.py

It works in the quick start's folder: what `make demo` has done is not done again. *frame-vid* and the rows with *dff*
have seen labeled frames of videos, the others only labeled stills.
"""

_base_ = ['./experiment.py', './_base_/dff_experiment.py']

steps = [*_base_.steps, *_base_._dff_steps]
rows = [*_base_.rows, *_base_._dff_rows]
