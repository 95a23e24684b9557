"""Stage one on generated data: R-FCN on labeled stills."""

_base_ = ['./_base_/model.py', './_base_/stage_one.py']

model = dict(_base_.detector, data_preprocessor=_base_.data_preprocessor)
# In place of ImageNet: three stages of ResNet-18, trained to classify 6,000 generated pictures of
# 20 kinds of objects (700 iterations of 48), in half precision.
load_parts = dict(
    backbone=dict(
        part='backbone',
        prefix='backbone',
        checkpoint='semidff::pretrained/resnet18-crops_synthetic.pth',
    )
)
train_dataloader = dict(batch_size=16)
iters = 450
train_cfg = dict(max_iters=iters)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=iters, by_epoch=False),
]
