"""Stage two on generated data, row *reg* alone: the regression step of two-step."""

_base_ = ['./two_step_synthetic.py']

train_cfg = dict(steps=_base_.train_cfg.steps[:1])
