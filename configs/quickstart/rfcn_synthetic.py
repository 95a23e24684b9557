"""Stage one on generated data: R-FCN on labeled stills."""

_base_ = ['./_base_/model.py', './_base_/stage_one.py']

model = dict(_base_.detector, data_preprocessor=_base_.data_preprocessor)
load_parts = dict(
    backbone=dict(checkpoint='{{$EXPERIMENT_DIR:work_dirs/quickstart}}/backbone/last.pth')
)
train_dataloader = dict(batch_size=16)
iters = 450
train_cfg = dict(max_iters=iters)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=iters, by_epoch=False),
]
