"""Stage one on generated data: two-stage Deformable DETR of the size of the DINO beside it, on labeled stills."""

_base_ = ['./dino_synthetic.py']

_settings = dict(_base_.model, type='DeformableDETR')
_settings.pop('dn_cfg')
model = dict(
    _delete_=True,
    **{**_settings, 'bbox_head': dict(_settings['bbox_head'], type='DeformableDETRHead')},
)
