"""Small R-FCN and temporal module, for the quick start and for own data.

Differences from the papers' R-FCN, for training on little data within minutes: ResNet-18 cut after
its third stage, which has stride 16 without dilation; RoIAlign-style pooling; sampled RoIs in place
of OHEM; 128 + 128 feature channels.
"""

channels = 128

data_preprocessor = dict(
    type='VideoDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
)

detector = dict(
    type='RFCN',
    backbone=dict(
        type='ResNet',
        depth=18,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
    ),
    neck=dict(
        type='RFCNNeck', in_channels=256, out_channels=2 * channels, dilation=2, init_std=0.03
    ),
    rpn_head=dict(
        type='RFCNRPNHead',
        in_channels=channels,
        anchor_generator=dict(type='AnchorGenerator', strides=[16]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.4, 0.4]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
    ),
    roi_head=dict(
        type='RFCNRoIHead',
        bbox_head=dict(
            type='RFCNBBoxHead',
            in_channels=channels,
            pooling=dict(type='PSRoIAlign', spatial_scale=1 / 16, sampling_ratio=2),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                match_low_quality=True,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type='RandomSampler', pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False
            ),
            allowed_border=0,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type='RandomSampler', pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True
            ),
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=dict(nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.01, nms=dict(type='nms')),
    ),
)

# Frames have been divided by a standard deviation of about 58; 58 / 255 makes it a division by 255.
temporal = dict(
    type='TemporalModule',
    flow_network=dict(type='FlowNetS', width=3 / 8, input_scale=0.226),
    feat_channels=2 * channels,
    init_std=None,
)
