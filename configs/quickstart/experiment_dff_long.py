"""The long preset with the supervised variants of Deep Feature Flow, three seeds.

python tools/run_experiment.py configs/quickstart/experiment_dff_long.py

It uses the long preset's folder, so steps that experiment_long.py has done are not repeated.
"""

_base_ = ['./experiment_long.py']

steps = [*_base_.steps, *_base_._dff_steps]
rows = [*_base_.rows, *_base_._dff_rows]
