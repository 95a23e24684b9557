"""Stage two on generated data: YOLOX-tiny on unlabeled videos."""

_base_ = ['./_base_/stage_two_quarter.py']

model = dict(
    detector='configs/quickstart/detectors/yolox_synthetic.py', split=dict(type='TowerSplit')
)
load_parts = dict(
    detector=dict(checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/yolox/last.pth')
)
# 4,000 iterations recover 86 to 87 % of the gap.
_regression, _semantic = _base_.train_cfg.steps
_semantic.iters = _semantic.param_scheduler[0].total_steps = 4000
train_cfg = dict(steps=[_regression, _semantic])
