# DFF with 5 layers in N_task (Table 5: 73.2, against 73.1 with one): conv5c, reduction and heads.
_base_ = './dff_r101_imagenet-det-vid.py'

model = dict(
    split=dict(type='ResNetSplit', task_from='layer4.2'), temporal=dict(feat_channels=2048)
)
# Only the flow network is loaded: the checkpoint's scale field has the default split's channels.
load_parts = dict(flow=dict(part='temporal.flow_network', prefix='temporal.flow_network'))
