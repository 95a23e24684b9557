# DFF with 0 layers in N_task (Table 5: 72.7, against 73.1 with one): score and box maps are
# propagated.
_base_ = './dff_r101_imagenet-det-vid.py'

# Anchors: 2 * 9 scores and 4 * 9 deltas; RoIs: 31 * 7 * 7 scores and 4 * 7 * 7 deltas.
model = dict(
    split=dict(type='OutputSplit'),
    # As the original, which takes score maps outside the frame for zero.
    temporal=dict(feat_channels=18 + 36 + 1519 + 196, padding='zeros'),
)
# Only the flow network is loaded: the checkpoint's scale field has the default split's channels.
load_parts = dict(flow=dict(part='temporal.flow_network', prefix='temporal.flow_network'))
