# "semi-DFF reg" of Table 4 (71.14 mAP): the regression step alone.
_base_ = './semi-dff_r101_imagenet-det-vid.py'

train_cfg = dict(steps=_base_.train_cfg.steps[:1])
