# R-FCN as in semi-DFF 3.2 / 3.5 and DFF section 4, settings of the authors' code.
#
# Backbone.  Weights and pixel statistics are torchvision's (style 'pytorch': stride on the 3x3),
# which are public.  The papers use MSRA's (style 'caffe': stride on the first 1x1, mean subtraction
# only), see configs/rfcn/rfcn_r101-caffe_*.py.  For weights from another file:
#   --cfg-options model.backbone.init_cfg.checkpoint=FILE

# Training, testing and distillation use the same proposals.
proposals = dict(
    nms_pre=6000, max_per_img=300, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0
)

model = dict(
    type='RFCN',
    data_preprocessor=dict(
        type='VideoDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1,  # no padding: every map is ceil(H / 16) x ceil(W / 16)
    ),
    backbone=dict(
        type='ResNet',
        depth=101,
        num_stages=4,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        out_indices=(3,),
        frozen_stages=1,
        # Statistics are frozen; scale and shift are trained above the frozen stages.
        norm_cfg=dict(type='BN', requires_grad=True, eps=1e-5),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    neck=dict(type='RFCNNeck', in_channels=2048, out_channels=1024, dilation=6),
    rpn_head=dict(
        type='RFCNRPNHead',
        in_channels=512,
        anchor_generator=dict(
            type='AnchorGenerator',
            scales=[8, 16, 32],
            ratios=[0.5, 1.0, 2.0],
            strides=[16],
            center_offset=0.5,  # as in the original: the center of the 16 pixels
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.4, 0.4]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.01),
    ),
    roi_head=dict(
        type='RFCNRoIHead',
        bbox_head=dict(
            type='RFCNBBoxHead',
            in_channels=512,
            num_classes=30,
            bins=7,
            # As in the original, which averages whole cells (docs/parity.md).
            pooling=dict(type='ExactPSRoIPool', spatial_scale=1 / 16),
            ohem=128,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=1e-6,  # the best anchor of each box, however small the overlap
                match_low_quality=True,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type='RandomSampler',
                num=256,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            ),
            allowed_border=0,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=proposals,
        rcnn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
                ignore_iof_thr=-1,
            ),
            # all proposals and ground-truth boxes; online hard example mining selects among them
            sampler=dict(
                type='RandomSampler',
                num=2000,
                pos_fraction=1.0,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            ),
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=proposals,
        rcnn=dict(score_thr=1e-4, nms=dict(type='nms', iou_threshold=0.3), max_per_img=300),
    ),
)
