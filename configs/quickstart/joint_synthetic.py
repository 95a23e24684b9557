"""Row *joint* of semi-DFF Table 3f on generated data: both losses in one step."""

_base_ = ['./sem_synthetic.py']

steps = _base_.train_cfg.steps
steps[0].name = 'joint'
steps[0].objectives = [dict(type='FeatureRegression'), dict(type='FeatureSemantics')]
train_cfg = dict(steps=steps)
