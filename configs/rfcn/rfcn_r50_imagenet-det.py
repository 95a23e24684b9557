# Stage one with ResNet-50 (DFF section 4): half the time and memory of ResNet-101.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r50.py',
    '../_base_/datasets/imagenet_det.py',
    '../_base_/datasets/imagenet_vid_val.py',
    '../_base_/schedules/sgd_imagenet.py',
]
