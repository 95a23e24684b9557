"""Stage one on generated data: Faster R-CNN on labeled stills.

Faster R-CNN on ResNet-18 with three levels of 64 channels, for objects of 30 to 90 pixels.
"""

_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '../_base_/stage_one.py']

# Few proposals suffice for the few objects.
_proposals = dict(nms_pre=300, max_per_img=60)

model = dict(
    backbone=dict(
        depth=18,
        norm_cfg=dict(requires_grad=False),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'),
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64, start_level=1, num_outs=3),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4, 6], strides=[8, 16, 32]),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, featmap_strides=[8, 16, 32], finest_scale=28),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=4),
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(pos_iou_thr=0.6), sampler=dict(num=64)),
        rpn_proposal=_proposals,
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=_proposals, rcnn=dict(score_thr=0.01, max_per_img=50)),
)
train_dataloader = dict(batch_size=16)
iters = 250
train_cfg = dict(max_iters=iters)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=iters, by_epoch=False),
]
