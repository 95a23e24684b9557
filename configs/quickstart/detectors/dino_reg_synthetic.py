"""Stage two on generated data: DINO on unlabeled videos, with the regression loss alone.

DINO's encoder selects the queries, so that those of student and teacher cannot be compared.
"""

_base_ = ['./two-step_synthetic.py']

model = dict(
    detector='configs/quickstart/detectors/dino_synthetic.py', split=dict(type='ExtractFeatSplit')
)
load_parts = dict(
    detector=dict(checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/dino/last.pth')
)
iters = 1500
_regression = _base_.train_cfg.steps[0]
_regression.iters = _regression.param_scheduler[0].total_steps = iters
train_cfg = dict(steps=[_regression])
