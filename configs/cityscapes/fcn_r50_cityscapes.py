# Image segmentation with ResNet-50 on the labeled frames of Cityscapes (DFF Figure 3, ResNet-50
# Frame).
_base_ = './fcn_r101_cityscapes.py'

model = dict(
    backbone=dict(depth=50, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))
)
