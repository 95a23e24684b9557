# DFF fix F (Tables 3 and 4: 67.0): the flow network stays as trained on Flying Chairs, the scale
# field at one; only the network is trained on pairs.
_base_ = './dff_r101_cityscapes.py'

model = dict(trainable=['feature_network', 'task_network'])
