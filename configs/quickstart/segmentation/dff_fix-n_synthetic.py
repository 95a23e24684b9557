"""DFF fix N: the frame-by-frame network is frozen, the temporal module is trained with labels (DFF Table 3)."""

_base_ = ['./dff_synthetic.py']

model = dict(trainable=['temporal'])
load_parts = dict(network=dict(checkpoint='{{$RUN_DIR:work_dirs/quickstart}}/fcn_vid/last.pth'))
