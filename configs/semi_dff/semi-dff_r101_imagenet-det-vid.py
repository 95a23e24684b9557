# semi-DFF of Table 4 (72.65 mAP, R-FCN frame 74.10): stage one also has labeled video frames.
# Use `tools/test.py --key-interval` for its rows with key-frame intervals 5, 15 and 20.
_base_ = './semi-dff_r101_imagenet-det.py'

load_parts = dict(detector=dict(checkpoint='work_dirs/rfcn_r101_imagenet-det-vid/last.pth'))
