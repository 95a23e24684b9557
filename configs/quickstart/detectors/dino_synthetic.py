"""Stage one on generated data: DINO on labeled stills.

A small DINO on ResNet-18: two levels, one encoder layer, two decoder layers, 40 queries.
"""

_base_ = ['../_base_/stage_one.py']

_width = 128
_attention = dict(embed_dims=_width, num_levels=2, dropout=0.0)
_ffn = dict(embed_dims=_width, feedforward_channels=256, ffn_drop=0.0)

model = dict(
    type='DINO',
    num_queries=40,
    num_feature_levels=2,
    with_box_refine=True,
    as_two_stage=True,
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='ResNet',
        depth=18,
        num_stages=4,
        out_indices=(2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'),
    ),
    neck=dict(
        type='ChannelMapper',
        in_channels=[256, 512],
        kernel_size=1,
        out_channels=_width,
        act_cfg=None,
        norm_cfg=dict(type='GN', num_groups=16),
        num_outs=2,
    ),
    encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=_attention, ffn_cfg=_ffn)),
    decoder=dict(
        num_layers=2,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=_width, num_heads=8, dropout=0.0),
            cross_attn_cfg=_attention,
            ffn_cfg=_ffn,
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=_width // 2, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        type='DINOHead',
        num_classes=4,
        embed_dims=_width,
        sync_cls_avg_factor=True,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=40),
    ),
    train_cfg=dict(
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='FocalLossCost', weight=2.0),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=40),
)
iters = 700
train_cfg = dict(max_iters=iters)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=iters, by_epoch=False),
]
