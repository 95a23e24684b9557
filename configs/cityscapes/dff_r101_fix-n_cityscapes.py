# DFF fix N (Tables 3 and 4: 68.8): the network stays as trained on single frames; only the flow
# network and the scale field are trained on pairs.
_base_ = './dff_r101_cityscapes.py'

model = dict(trainable=['temporal'], detector=dict(backbone=dict(init_cfg=None)))
load_parts = dict(
    network=dict(part='spatial.detector', checkpoint='work_dirs/fcn_r101_cityscapes/last.pth')
)
