"""Supervised Deep Feature Flow and semi-DFF on generated data (DFF Tables 3, 4; semi-DFF Tables 2, 4).

python tools/run_experiment.py configs/quickstart/experiment_dff.py

It uses the quick start's folder, so steps that experiment.py has done are not repeated. *frame-vid* and the rows with
*dff* are trained on labeled frames of videos, the others on labeled stills only.
"""

_base_ = ['./experiment.py']

steps = [*_base_.steps, *_base_._dff_steps]
rows = [*_base_.rows, *_base_._dff_rows]
