# SFF-fast: shallow feature flow (DFF Tables 3 and 4: 69.7, with SIFT-Flow).  Features are carried by
# OpenCV's optical flow; nothing learns, and the weights are those of the frame-by-frame detector:
#
#   python tools/test.py configs/dff/sff-fast_r101.py \
#       work_dirs/rfcn_r101_imagenet-det-vid/last.pth
#
# For another detector the same without a config of its own: tools/test.py --method sff-fast.
_base_ = './dff_r101_imagenet-det-vid.py'

model = dict(
    temporal=dict(
        _delete_=True,
        type='TemporalModule',
        flow_network=dict(type='OpenCVFlow', preset='fast'),
        with_scale=False,
    )
)

# Nothing of it learns.
train_dataloader = None
train_cfg = None
optim_wrapper = None
param_scheduler = None
load_parts = None
