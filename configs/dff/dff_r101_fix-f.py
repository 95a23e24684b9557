# DFF fix F (Tables 3 and 4: 68.8): flow network as trained on Flying Chairs, scale field at one; only
# the detector learns on pairs.
_base_ = './dff_r101_imagenet-det-vid.py'

model = dict(trainable=['feature_network', 'task_network'])
