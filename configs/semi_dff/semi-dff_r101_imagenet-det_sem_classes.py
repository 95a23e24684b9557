# Table 3c, inter-class relationship alone (55.54 mAP).
_base_ = './semi-dff_r101_imagenet-det_sem.py'

steps = _base_.train_cfg.steps
steps[0].objectives[0].update(attention=False, boxes=False)
train_cfg = dict(steps=steps)
