"""Stage two on generated data, row *sem*: the semantic loss alone, from random weights."""

_base_ = ['./two_step_synthetic.py']

iters = 2600
_semantic = _base_.train_cfg.steps[1]
_semantic.iters = iters
_semantic.param_scheduler[0].eta_max = 8e-4
train_cfg = dict(steps=[_semantic])
