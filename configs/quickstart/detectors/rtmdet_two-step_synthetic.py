"""Stage two on generated data: RTMDet-tiny on unlabeled videos."""

_base_ = ['./_base_/stage_two.py']

model = dict(
    detector='configs/quickstart/detectors/rtmdet_synthetic.py', split=dict(type='TowerSplit')
)
load_parts = dict(
    detector=dict(checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/rtmdet/last.pth')
)
# 4,500 iterations keep stage two well below 20 minutes on 2 cores.
_regression, _semantic = _base_.train_cfg.steps
_semantic.iters = _semantic.param_scheduler[0].total_steps = 4500
train_cfg = dict(steps=[_regression, _semantic])
