# As rfcn_r101_imagenet-det-vid.py with the papers' own backbone: MSRA's ResNet-101, whose first
# convolution wants blue first.  Checkpoint: OpenMMLab's copy, or a file with mmdet's key names
# (model.backbone.init_cfg.checkpoint).  Stage two: configs/semi_dff/semi-dff_r101-caffe_*.py.
_base_ = './rfcn_r101_imagenet-det-vid.py'

model = dict(
    data_preprocessor=dict(mean=[103.06, 115.90, 123.15], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        style='caffe',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnet101_caffe'),
    ),
)
