# "semi-DFF reg" of Table 1: the regression step alone.
_base_ = './semi-dff_r101_imagenet-det.py'

train_cfg = dict(steps=_base_.train_cfg.steps[:1])
