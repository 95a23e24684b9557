"""The same detector with the original's conventions of boxes, anchors, targets, losses and mirroring.

The other side of the comparison in docs/parity.md, "Which conventions learn the better detector"; network, optimiser
and data are those of rfcn_mmdet-conventions_world.py.
"""

_base_ = ['./rfcn_mmdet-conventions_world.py']

proposals = dict(nms=dict(offset=1))
overlaps = dict(type='OriginalOverlaps')

model = dict(
    rpn_head=dict(
        type='OriginalRPNHead',
        anchor_generator=dict(
            _delete_=True,
            type='OriginalAnchorGenerator',
            scales=[2, 3.5, 6],
            ratios=[0.5, 1.0, 2.0],
            strides=[16],
        ),
        bbox_coder=dict(_delete_=True, type='OriginalBoxCoder', target_stds=[0.1, 0.1, 0.4, 0.4]),
    ),
    roi_head=dict(
        type='OriginalRoIHead',
        bbox_head=dict(
            type='OriginalBBoxHead',
            box_groups=2,
            bbox_coder=dict(type='OriginalBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                _delete_=True,
                type='OriginalAnchorAssigner',
                pos_iou_thr=0.6,
                neg_iou_thr=0.3,
                iou_calculator=overlaps,
            ),
            sampler=dict(type='OriginalAnchorSampler'),
        ),
        rpn_proposal=proposals,
        rcnn=dict(
            assigner=dict(iou_calculator=overlaps),
            sampler=dict(_delete_=True, type='PseudoSampler'),
        ),
    ),
    test_cfg=dict(rpn=proposals, rcnn=dict(nms=dict(offset=1))),
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='OriginalFlip', prob=0.5),
                dict(type='PackDetInputs'),
            ]
        )
    )
)
