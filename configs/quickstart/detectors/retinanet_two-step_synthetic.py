"""Stage two on generated data: RetinaNet on unlabeled videos."""

_base_ = ['./_base_/stage_two.py']

model = dict(
    detector='configs/quickstart/detectors/retinanet_synthetic.py',
    split=dict(type='OutputSplit'),
    temporal=dict(correction_width=64),
)
load_parts = dict(
    detector=dict(checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/retinanet/last.pth')
)
semantic_iters = 5400
_regression, _semantic = _base_.train_cfg.steps
_semantic.iters = _semantic.param_scheduler[0].total_steps = semantic_iters
train_cfg = dict(steps=[_regression, _semantic])
