# Stage one of semi-DFF Tables 1-3: labeled images only (R-FCN frame: 59.31 mAP there).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101.py',
    '../_base_/datasets/imagenet_det.py',
    '../_base_/datasets/imagenet_vid_val.py',
    '../_base_/schedules/sgd_imagenet.py',
]
