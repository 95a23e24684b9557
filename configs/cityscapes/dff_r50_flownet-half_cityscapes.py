# DFF with ResNet-50 and FlowNet Half (DFF Figure 3).
_base_ = './dff_r101_flownet-half_cityscapes.py'

model = dict(
    detector=dict(
        backbone=dict(
            depth=50, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')
        )
    )
)
