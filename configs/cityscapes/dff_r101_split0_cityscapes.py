# DFF with no layer in the task network (Table 5: mIoU 69.5): the score maps are propagated.
_base_ = './dff_r101_cityscapes.py'

# Zeros outside the frame, as for detection.
model = dict(split=dict(type='OutputSplit'), temporal=dict(feat_channels=19, padding='zeros'))
# Only the flow network is loaded: the checkpoint's scale field has the default split's channels.
load_parts = dict(flow=dict(part='temporal.flow_network', prefix='temporal.flow_network'))
