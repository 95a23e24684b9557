"""Stage one on generated data: YOLOX-tiny on labeled stills."""

_base_ = ['./_base_/yolox.py', '../_base_/stage_one.py']

load_parts = dict(
    backbone=dict(
        checkpoint='{{$EXPERIMENT_DIR:work_dirs/quickstart_detectors}}/backbone_cspdarknet/last.pth'
    )
)
iters = 600
train_cfg = dict(max_iters=iters)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=2e-3, total_steps=iters, by_epoch=False),
]
