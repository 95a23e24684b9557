# Table 3f, joint training (58.08 mAP): both losses in one step, with equal weights, from random
# initialization.  The paper states neither weights nor iterations; these are the iterations of one
# step.
_base_ = './semi-dff_r101_imagenet-det.py'

reg, joint = _base_.train_cfg.steps
joint.name = 'joint'
joint.objectives = [*reg.objectives, *joint.objectives]
train_cfg = dict(steps=[joint])
