# DFF with 12 layers in the task network (Table 5: mIoU 69.1).
_base_ = './dff_r101_cityscapes.py'

model = dict(
    split=dict(type='ResNetSplit', task_from='layer4.0'), temporal=dict(feat_channels=1024)
)
# Only the flow network is loaded: the checkpoint's scale field has the default split's channels.
load_parts = dict(flow=dict(part='temporal.flow_network', prefix='temporal.flow_network'))
