# "semi-DFF sem" with the original's conventions: the semantic step alone, from random
# initialization.
_base_ = './semi-dff_r101-original_imagenet-det-vid.py'

train_cfg = dict(steps=_base_.train_cfg.steps[1:])
