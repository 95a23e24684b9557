"""Stage one on generated data: image segmentation on labeled stills."""

_base_ = ['./fcn_vid_synthetic.py']

load_parts = dict(
    _delete_=True,
    backbone=dict(
        part='backbone',
        prefix='backbone',
        checkpoint='semidff::pretrained/resnet18-crops_synthetic.pth',
    ),
)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        _delete_=True, type='SampleStream', dataset=dict(_base_.stills, pipeline=_base_.single)
    ),
)
iters = 300
train_cfg = dict(max_iters=iters)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=iters, by_epoch=False),
]
