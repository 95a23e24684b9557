"""DFF fix F: the flow network stays as flow pre-training left it, the detector learns on pairs (DFF Table 3)."""

_base_ = ['./dff_synthetic.py']

model = dict(trainable=['feature_network', 'task_network'])
