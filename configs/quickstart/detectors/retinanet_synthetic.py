"""Stage one on generated data: RetinaNet on labeled stills.

RetinaNet on ResNet-18 with three levels of 64 channels, for objects of 30 to 90 pixels.
"""

_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', '../_base_/stage_one.py']

model = dict(
    backbone=dict(
        depth=18,
        norm_cfg=dict(requires_grad=False),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'),
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64, num_outs=3),
    bbox_head=dict(
        num_classes=4,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        # The objects' aspect ratio is mostly between 2 / 3 and 3 / 2.
        anchor_generator=dict(scales_per_octave=2, ratios=[1.0], strides=[8, 16, 32]),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        reg_decoded_bbox=True,
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=2.0),
    ),
    test_cfg=dict(nms_pre=300, score_thr=0.01),
)
