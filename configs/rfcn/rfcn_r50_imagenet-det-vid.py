# "Frame" of DFF Figure 3 with ResNet-50.
_base_ = './rfcn_r101_imagenet-det-vid.py'

model = dict(
    backbone=dict(depth=50, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))
)
