# rfcn_r101_imagenet-det-vid.py with the backbone of the papers: MSRA's ResNet-101 with BGR input.
# The weights are OpenMMLab's copy; set model.backbone.init_cfg.checkpoint for another file with
# mmdet's key names.  Stage two: configs/semi_dff/semi-dff_r101-caffe_*.py.
_base_ = './rfcn_r101_imagenet-det-vid.py'

model = dict(
    data_preprocessor=dict(mean=[103.06, 115.90, 123.15], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        style='caffe',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnet101_caffe'),
    ),
)
