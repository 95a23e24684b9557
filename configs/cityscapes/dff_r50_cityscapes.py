# DFF with ResNet-50 (DFF Figure 3).
_base_ = './dff_r101_cityscapes.py'

model = dict(
    detector=dict(
        backbone=dict(
            depth=50, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')
        )
    )
)
