"""Stage one on generated data: YOLOX-tiny on labeled stills.

YOLOX-tiny, as mmdet's yolox_tiny_8xb8-300e_coco.py, with frames normalized as ImageNet's.
"""

_base_ = ['./_base_/backbones.py', '../_base_/stage_one.py']

_bn = dict(norm_cfg=dict(type='BN', momentum=0.03, eps=0.001), act_cfg=dict(type='Swish'))

model = dict(
    type='YOLOX',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=_base_.cspdarknet,
    neck=dict(
        type='YOLOXPAFPN', in_channels=[96, 192, 384], out_channels=96, num_csp_blocks=1, **_bn
    ),
    bbox_head=dict(
        type='YOLOXHead',
        num_classes=4,
        in_channels=96,
        feat_channels=96,
        stacked_convs=2,
        strides=(8, 16, 32),
        **_bn,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
        loss_bbox=dict(type='IoULoss', mode='square', eps=1e-16, reduction='sum', loss_weight=5.0),
        loss_obj=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
        loss_l1=dict(type='L1Loss', reduction='sum'),
    ),
    train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
    test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)),
)
iters = 600
train_cfg = dict(max_iters=iters)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=2e-3, total_steps=iters, by_epoch=False),
]
