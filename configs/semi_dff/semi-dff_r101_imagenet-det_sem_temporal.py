# Table 3e, only the temporal module is trained (57.94 mAP).
_base_ = './semi-dff_r101_imagenet-det_sem.py'

steps = _base_.train_cfg.steps
steps[0].trainable = ['temporal']
train_cfg = dict(steps=steps)
