# Table 3d, infinite temperature: logit regression (57.81 mAP).
_base_ = './semi-dff_r101_imagenet-det_sem.py'

steps = _base_.train_cfg.steps
steps[0].objectives[0].temperature = 'inf'
train_cfg = dict(steps=steps)
