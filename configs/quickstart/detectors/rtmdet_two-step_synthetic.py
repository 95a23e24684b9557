"""Stage two on generated data: RTMDet-tiny on unlabeled videos."""

_base_ = ['./_base_/stage_two_quarter.py']

model = dict(
    detector='configs/quickstart/detectors/rtmdet_synthetic.py', split=dict(type='TowerSplit')
)
load_parts = dict(
    detector=dict(checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/rtmdet/last.pth')
)
# 6,000 iterations recover 87 % of the gap, 4,500 85.5 % (seed 0).
_regression, _semantic = _base_.train_cfg.steps
_semantic.iters = _semantic.param_scheduler[0].total_steps = 6000
train_cfg = dict(steps=[_regression, _semantic])
