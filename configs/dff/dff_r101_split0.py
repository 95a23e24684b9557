# DFF with 0 layers in N_task (Table 5: 72.7, against 73.1 with one): score and box maps are propagated.
_base_ = './dff_r101_imagenet-det-vid.py'

# 2 * 9 scores and 4 * 9 deltas of anchors, 31 * 7 * 7 scores and 4 * 7 * 7 deltas of RoIs
model = dict(split=dict(type='ScoreMapSplit'), temporal=dict(feat_channels=18 + 36 + 1519 + 196))
# The flow network alone: the scale field of its file is as wide as the default split's features.
load_parts = dict(flow=dict(part='temporal.flow_network', prefix='temporal.flow_network'))
