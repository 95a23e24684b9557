# DFF of semi-DFF Table 2 (59.54 mAP): fix N on the detector of labeled images.
_base_ = './dff_r101_fix-n.py'

load_parts = dict(detector=dict(checkpoint='work_dirs/rfcn_r101_imagenet-det/last.pth'))
