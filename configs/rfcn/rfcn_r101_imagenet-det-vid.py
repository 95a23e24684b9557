# Stage one of semi-DFF Table 4: labeled images and labeled video frames (R-FCN frame: 74.10 mAP
# there).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101.py',
    '../_base_/datasets/imagenet_det_vid.py',
    '../_base_/datasets/imagenet_vid_val.py',
    '../_base_/schedules/sgd_imagenet_det_vid.py',
]
