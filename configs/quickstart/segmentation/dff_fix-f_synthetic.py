"""DFF fix F: the flow network keeps its pre-trained weights, the network is trained on pairs (DFF Table 3)."""

_base_ = ['./dff_synthetic.py']

model = dict(trainable=['feature_network', 'task_network'])
