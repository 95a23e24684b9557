"""The quick start's small R-FCN and its temporal module.

Departures from the paper's R-FCN, because everything starts from nothing on a few CPU minutes: ResNet-18 cut after
its third stage (stride 16 without dilation), 3x3 bins, RoIAlign-style pooling, sampled RoIs in place of OHEM, smaller
anchors, 128 + 128 feature channels.
"""

channels = 128

backbone = dict(
    type='ResNet',
    depth=18,
    base_channels=64,
    num_stages=3,
    strides=(1, 2, 2),
    dilations=(1, 1, 1),
    out_indices=(2,),
    norm_cfg=dict(type='BN', requires_grad=False),
    norm_eval=True,
    style='pytorch',
)

data_preprocessor = dict(
    type='VideoDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
)

rpn_test = dict(
    nms_pre=300, max_per_img=60, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0
)

detector = dict(
    type='RFCN',
    backbone=backbone,
    neck=dict(
        type='RFCNNeck', in_channels=256, out_channels=2 * channels, dilation=2, init_std=0.03
    ),
    rpn_head=dict(
        type='RFCNRPNHead',
        in_channels=channels,
        anchor_generator=dict(
            type='AnchorGenerator', scales=[2, 3.5, 6], ratios=[0.5, 1.0, 2.0], strides=[16]
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.4, 0.4]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
    ),
    roi_head=dict(
        type='RFCNRoIHead',
        bbox_head=dict(
            type='RFCNBBoxHead',
            in_channels=channels,
            num_classes=4,
            bins=3,
            pooling=dict(type='PSRoIAlign', spatial_scale=1 / 16, sampling_ratio=2),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.6,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                match_low_quality=True,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type='RandomSampler',
                num=64,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            ),
            allowed_border=16,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=rpn_test,
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
                type='RandomSampler',
                num=64,
                pos_fraction=0.25,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            ),
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=rpn_test,
        rcnn=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.3), max_per_img=50),
    ),
)

# Frames are divided by a deviation of about 58, so 58 / 255 gives the flow network frames in units of 255.
temporal = dict(
    type='TemporalModule',
    flow_network=dict(type='FlowNetS', width=3 / 8, input_scale=0.226),
    feat_channels=2 * channels,
    init_std=None,
)
