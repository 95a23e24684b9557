# DFF without the scale field (DFF 5.2: less than one percent below DFF).
_base_ = './dff_r101_cityscapes.py'

model = dict(temporal=dict(with_scale=False))
# Only the flow network is loaded; the checkpoint also has a scale field.
load_parts = dict(flow=dict(part='temporal.flow_network', prefix='temporal.flow_network'))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(_delete_=True)))
