# SFF-fast (Table 4: 67.3 with SIFT-Flow): the network of fcn_r101_cityscapes.py and OpenCV's
# optical flow, no training.
#
#   python tools/test.py configs/cityscapes/sff-fast_r101_cityscapes.py \
#       work_dirs/fcn_r101_cityscapes/last.pth
_base_ = './fcn_r101_cityscapes.py'

test_cfg = dict(method='sff-fast')
