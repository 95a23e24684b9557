"""The small R-FCN for the generated data set: four classes, frames of 192 x 256."""

_base_ = ['../../_base_/models/rfcn_r18.py']

# Few proposals suffice for the few objects; the heads run on every frame.
proposals = dict(nms_pre=300, max_per_img=60)

detector = dict(
    rpn_head=dict(anchor_generator=dict(scales=[2, 3.5, 6], ratios=[0.5, 1.0, 2.0])),
    # 3 x 3 bins converge several times faster than the paper's 7 x 7
    roi_head=dict(bbox_head=dict(num_classes=4, bins=3)),
    train_cfg=dict(
        rpn=dict(assigner=dict(pos_iou_thr=0.6), sampler=dict(num=64), allowed_border=16),
        rpn_proposal=proposals,
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=proposals, rcnn=dict(nms=dict(iou_threshold=0.3), max_per_img=50)),
)
