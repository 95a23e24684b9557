# As sgd_imagenet.py for images and video frames: 2 passes over 111,473 of them and their mirror
# images.
_base_ = './sgd_imagenet.py'

train_cfg = dict(max_iters=111_473)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[74_297], gamma=0.1)]
