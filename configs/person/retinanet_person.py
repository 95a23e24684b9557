"""Stage one of a detector with FPN and a dense head: RetinaNet with levels of stride 8 to 64.

``tools/adapt.py`` makes a video detector of it without a stage-two config.
"""

_base_ = ['./rfcn_person.py']

channels = 128

model = dict(
    _delete_=True,
    type='RetinaNet',
    data_preprocessor=dict(_base_.data_preprocessor, pad_size_divisor=32),
    # The ImageNet weights end with the third stage, whose stride is 16.
    backbone=dict(_base_.detector.backbone, out_indices=(1, 2)),
    neck=dict(
        type='FPN',
        in_channels=[128, 256],
        out_channels=channels,
        add_extra_convs='on_output',
        num_outs=4,
    ),
    bbox_head=dict(
        type='RetinaHead',
        num_classes=1,
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[1.0, 2.0, 3.0],
            strides=[8, 16, 32, 64],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        reg_decoded_bbox=True,
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, ignore_iof_thr=-1),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=300, score_thr=0.01, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100
    ),
)
