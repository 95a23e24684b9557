# Table 3c, inter-class relationship and accurate location (57.75 mAP).
_base_ = './semi-dff_r101_imagenet-det_sem.py'

steps = _base_.train_cfg.steps
steps[0].objectives[0].attention = False
train_cfg = dict(steps=steps)
