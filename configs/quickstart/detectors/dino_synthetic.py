"""Stage one on generated data: DINO on labeled stills."""

_base_ = ['./_base_/dino.py', '../_base_/stage_one.py']

load_parts = dict(
    backbone=dict(
        checkpoint='{{$EXPERIMENT_DIR:work_dirs/quickstart_detectors}}/backbone_r18/last.pth'
    )
)
iters = 700
train_cfg = dict(max_iters=iters)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=iters, by_epoch=False),
]
