# Table 3b, L1 regression loss (55.55 mAP).
_base_ = './semi-dff_r101_imagenet-det_reg.py'

steps = _base_.train_cfg.steps
steps[0].objectives[0].norm = 'l1'
train_cfg = dict(steps=steps)
