# "semi-DFF sem" of Table 4 (71.96 mAP): the semantic step alone, from random initialization.
_base_ = './semi-dff_r101_imagenet-det-vid.py'

train_cfg = dict(steps=_base_.train_cfg.steps[1:])
