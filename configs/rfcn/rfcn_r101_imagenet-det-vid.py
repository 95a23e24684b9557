# Stage one of semi-DFF Table 4: labeled images and labeled video frames (R-FCN frame: 74.10 mAP
# there).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101.py',
    '../_base_/datasets/imagenet_det_vid.py',
    '../_base_/datasets/imagenet_vid_val.py',
    '../_base_/schedules/sgd_imagenet.py',
]

# 2 passes over 111,473 images and their mirror images, 4 per iteration
train_cfg = dict(max_iters=111_473)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[74_297], gamma=0.1)]
