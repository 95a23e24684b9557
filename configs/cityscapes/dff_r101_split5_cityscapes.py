# DFF with 5 layers in the task network (Table 5: mIoU 69.2).
_base_ = './dff_r101_cityscapes.py'

model = dict(
    split=dict(type='ResNetSplit', task_from='layer4.2'), temporal=dict(feat_channels=2048)
)
# Only the flow network is loaded: the checkpoint's scale field has the default split's channels.
load_parts = dict(flow=dict(part='temporal.flow_network', prefix='temporal.flow_network'))
