# R-FCN with every convention of the original MXNet code, for its converted checkpoints and for
# trainings that are compared with it number by number.  docs/parity.md lists the differences from
# rfcn_r101.py and the measured agreement with the original.
#
# Use it with OriginalResize and OriginalFlip in the pipelines: ../datasets/original_pipelines.py.
_base_ = './rfcn_r101.py'

# x2 is the last pixel of a box, so a box is x2 - x1 + 1 wide: offset=1.
proposals = dict(nms=dict(offset=1))
overlaps = dict(type='OriginalOverlaps')

model = dict(
    # MSRA's ResNet-101 as in the original: RGB input, mean subtraction only.
    data_preprocessor=dict(mean=[123.15, 115.90, 103.06], std=[1.0, 1.0, 1.0]),
    # Trainings are refused until weights are given, which must expect RGB, too:
    #   --cfg-options model.backbone.init_cfg.checkpoint=FILE
    backbone=dict(style='caffe', init_cfg=dict(type='Pretrained', checkpoint=None)),
    rpn_head=dict(
        type='OriginalRPNHead',
        anchor_generator=dict(
            _delete_=True,
            type='OriginalAnchorGenerator',
            scales=[8, 16, 32],
            ratios=[0.5, 1.0, 2.0],
            strides=[16],
        ),
        bbox_coder=dict(type='OriginalBoxCoder'),
    ),
    roi_head=dict(
        type='OriginalRoIHead',
        bbox_head=dict(
            type='OriginalBBoxHead',
            box_groups=2,
            bbox_coder=dict(type='OriginalBoxCoder'),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                _delete_=True,
                type='OriginalAnchorAssigner',
                pos_iou_thr=0.7,
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
