# DFF fix N (Tables 3 and 4: 72.3): the detector stays as trained on single frames; only the flow
# network and the scale field are trained on pairs.
_base_ = './dff_r101_imagenet-det-vid.py'

model = dict(trainable=['temporal'], detector=dict(backbone=dict(init_cfg=None)))
load_parts = dict(
    detector=dict(
        part='spatial.detector', checkpoint='work_dirs/rfcn_r101_imagenet-det-vid/last.pth'
    )
)
