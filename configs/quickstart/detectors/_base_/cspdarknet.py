"""Backbone of YOLOX-tiny."""

cspdarknet = dict(
    type='CSPDarknet',
    deepen_factor=0.33,
    widen_factor=0.375,
    spp_kernal_sizes=(5, 9, 13),
    norm_cfg=dict(type='BN', momentum=0.03, eps=0.001),
    act_cfg=dict(type='Swish'),
)
