# SFF-fast: shallow feature flow (DFF Tables 3 and 4: 69.7, with SIFT-Flow).  Features are
# propagated by OpenCV's optical flow.  Nothing is trained; the weights are those of the
# frame-by-frame detector:
#
#   python tools/test.py configs/dff/sff-fast_r101.py \
#       work_dirs/rfcn_r101_imagenet-det-vid/last.pth
#
# Other detectors need no config of their own: tools/test.py --method sff-fast.
_base_ = './dff_r101_separate.py'  # a config without training

model = dict(
    temporal=dict(
        _delete_=True,
        type='TemporalModule',
        flow_network=dict(type='OpenCVFlow', preset='fast'),
        with_scale=False,
    )
)
