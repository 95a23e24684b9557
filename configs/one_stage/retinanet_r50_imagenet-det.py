# RetinaNet with ResNet-50, which the papers do not have: mmdetection's model with the data and the
# schedule of R-FCN.
_base_ = [
    '../_base_/default_runtime.py',
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/imagenet_det.py',
    '../_base_/datasets/imagenet_vid_val.py',
    '../_base_/schedules/sgd_imagenet.py',
]

model = dict(bbox_head=dict(num_classes=30))
# mmdetection's 0.01 for 16 images
optim_wrapper = dict(optimizer=dict(lr=2.5e-3, weight_decay=1e-4))
