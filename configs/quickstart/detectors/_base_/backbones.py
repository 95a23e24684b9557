"""Backbones of RTMDet-tiny and YOLOX-tiny."""

cspnext = dict(
    type='CSPNeXt',
    arch='P5',
    expand_ratio=0.5,
    deepen_factor=0.167,
    widen_factor=0.375,
    channel_attention=True,
    norm_cfg=dict(type='BN'),
    act_cfg=dict(type='SiLU', inplace=True),
    init_cfg=dict(
        type='Pretrained',
        prefix='backbone.',
        checkpoint='https://mmassets.onedl.ai/mmdetection/v3.0/rtmdet/cspnext_rsb_pretrain/'
        'cspnext-tiny_imagenet_600e.pth',
    ),
)

cspdarknet = dict(
    type='CSPDarknet',
    deepen_factor=0.33,
    widen_factor=0.375,
    spp_kernal_sizes=(5, 9, 13),
    norm_cfg=dict(type='BN', momentum=0.03, eps=0.001),
    act_cfg=dict(type='Swish'),
)
