"""Stage one on generated data: two-stage Deformable DETR beside the DINO, on labeled stills.

It has twice the DINO's width: mmdetection embeds the boxes that the encoder selects in 512 values.
"""

_base_ = ['./dino_synthetic.py']

_width = 256
_attention = dict(embed_dims=_width, num_levels=2, dropout=0.0)
_ffn = dict(embed_dims=_width, feedforward_channels=256, ffn_drop=0.0)

_settings = dict(_base_.model)
_settings.pop('dn_cfg')
_settings.update(
    type='DeformableDETR',
    neck=dict(_settings['neck'], out_channels=_width),
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
    positional_encoding=dict(_settings['positional_encoding'], num_feats=_width // 2),
    bbox_head=dict(_settings['bbox_head'], type='DeformableDETRHead', embed_dims=_width),
)
model = dict(_delete_=True, **_settings)
