# Table 3e, temporal and spatial module are trained (53.38 mAP).  The teacher keeps the feature network of
# stage one.
_base_ = './semi-dff_r101_imagenet-det_sem.py'

steps = _base_.train_cfg.steps
steps[0].trainable = ['temporal', 'task_network', 'feature_network']
train_cfg = dict(steps=steps)
