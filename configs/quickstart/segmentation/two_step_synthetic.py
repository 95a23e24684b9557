"""Stage two on generated data: regression loss, then semantic loss, on unlabeled mp4 files.

The checkpoint of the first step, ``regression.pth``, is the row *reg*; the last one is *two-step*.
The flow network starts from the weights of its pre-training.
"""

_base_ = [
    '../../_base_/default_runtime.py',
    '../_base_/stage_two.py',
    './_base_/segmentation.py',
]

custom_imports = dict(imports=['semidff.registry', 'semidff.utils.mmseg_extra'])

model = dict(
    type='SemiDFF',
    detector=_base_.network,
    temporal=_base_.temporal,
    both_directions=True,
    feature_cache=2.0,
)
_run = '{{$RUN_DIR:work_dirs/quickstart/seed0}}'
load_parts = dict(
    network=dict(part='spatial.detector', checkpoint=_run + '/fcn/last.pth'),
    flow=dict(part='temporal', prefix='temporal', checkpoint=_run + '/flow/last.pth'),
)
regression_iters = 500
semantic_iters = 1200
_regression, _semantic = _base_.train_cfg.steps
_regression.iters = regression_iters
_semantic.iters = semantic_iters
_semantic.param_scheduler[0].eta_max = 8e-4
train_cfg = dict(steps=[_regression, _semantic])
