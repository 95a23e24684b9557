"""The small R-FCN for one class, on frames of short side 720.

Of the feature network, an ImageNet ResNet-18, only the last stage is trained. For your own classes
set ``num_classes`` here and ``classes`` in ``data.py``, and adapt the anchors' ratios (height /
width) to them.
"""

_base_ = ['../../_base_/models/rfcn_r18.py']

detector = dict(
    backbone=dict(frozen_stages=2),
    rpn_head=dict(
        anchor_generator=dict(scales=[2, 3, 4.5, 7, 12, 20], ratios=[1.0, 2.0, 3.0]),
    ),
    roi_head=dict(bbox_head=dict(num_classes=1, bins=5)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=256)),
        rpn_proposal=dict(nms_pre=1000, max_per_img=200),
        rcnn=dict(sampler=dict(num=128)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=600, max_per_img=100),
        rcnn=dict(nms=dict(iou_threshold=0.4), max_per_img=100),
    ),
)
# The detector is light: a wider flow network would limit the speed-up (docs/flow.md).
temporal = dict(flow_network=dict(width=1 / 8))
