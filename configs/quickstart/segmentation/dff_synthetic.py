"""Deep Feature Flow on generated data: network and flow network are trained together, with labels (DFF section 3)."""

_base_ = [
    '../../_base_/default_runtime.py',
    '../_base_/model.py',
    './_base_/network.py',
    './_base_/pairs.py',
]

custom_imports = dict(imports=['semidff', 'semidff.utils.mmseg_extra'])

model = dict(type='VideoDetector', detector=_base_.network, temporal=_base_.temporal)
_run = '{{$RUN_DIR:work_dirs/quickstart}}'
load_parts = dict(
    network=dict(part='spatial.detector', checkpoint=_run + '/fcn/last.pth'),
    flow=dict(part='temporal', prefix='temporal', checkpoint=_run + '/flow/last.pth'),
)

iters = 300
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters)
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=5e-4, total_steps=iters, by_epoch=False),
]
