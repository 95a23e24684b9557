# DFF with 21 layers in N_task (Table 5: 73.2, against 73.1 with one): three units of conv4 more
# than with 12.
_base_ = './dff_r101_imagenet-det-vid.py'

model = dict(
    split=dict(type='ResNetSplit', task_from='layer3.20'), temporal=dict(feat_channels=1024)
)
