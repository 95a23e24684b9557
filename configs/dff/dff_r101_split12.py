# DFF with 12 layers in N_task (Table 5: 73.3, against 73.1 with one): conv5, reduction and heads.
_base_ = './dff_r101_imagenet-det-vid.py'

model = dict(
    split=dict(type='ResNetSplit', task_from='layer4.0'), temporal=dict(feat_channels=1024)
)
