# SFF-slow (Table 4: 67.8 with SIFT-Flow): SFF-fast with the most accurate setting of the optical
# flow.
_base_ = './sff-fast_r101_cityscapes.py'

test_cfg = dict(method='sff-slow')
