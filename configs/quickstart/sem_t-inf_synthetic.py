"""Row *t-inf* of semi-DFF Table 3d on generated data: infinite temperature, logit regression."""

_base_ = ['./sem_synthetic.py']

steps = _base_.train_cfg.steps
steps[0].objectives[0].temperature = 'inf'
train_cfg = dict(steps=steps)
