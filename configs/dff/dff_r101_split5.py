# DFF with 5 layers in N_task (Table 5: 73.2, against 73.1 with one): conv5c, reduction and heads.
_base_ = './dff_r101_imagenet-det-vid.py'

model = dict(
    split=dict(type='ResNetSplit', task_from='layer4.2'), temporal=dict(feat_channels=2048)
)
# The flow network alone: the scale field of its file is as wide as the default split's features.
load_parts = dict(flow=dict(part='temporal.flow_network', prefix='temporal.flow_network'))
