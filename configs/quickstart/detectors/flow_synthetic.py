"""Flow network from which stage two of most detectors starts.

It is trained with the quick start's R-FCN, without labels, in the steps of its two-step config with
more iterations.
"""

_base_ = ['../two_step_synthetic.py']

model = dict(feature_cache=4.0)
load_parts = dict(
    detector=dict(checkpoint='{{$EXPERIMENT_DIR:work_dirs/quickstart_detectors}}/rfcn/last.pth')
)
semantic_iters = 6000
_regression, _semantic = _base_.train_cfg.steps
_semantic.iters = semantic_iters
_semantic.param_scheduler[0].eta_max = 8e-4
train_cfg = dict(steps=[_regression, _semantic])
