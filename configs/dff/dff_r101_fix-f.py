# DFF fix F (Tables 3 and 4: 68.8): the flow network stays as trained on Flying Chairs, the scale
# field at one; only the detector is trained on pairs.
_base_ = './dff_r101_imagenet-det-vid.py'

model = dict(trainable=['feature_network', 'task_network'])
