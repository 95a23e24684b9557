"""Stage two on generated data: Faster R-CNN on unlabeled videos."""

_base_ = ['./_base_/stage_two.py']

model = dict(
    detector='configs/quickstart/detectors/faster-rcnn_synthetic.py',
    split=dict(type='OutputSplit'),
    temporal=dict(correction_width=32),
)
load_parts = dict(
    detector=dict(checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/faster-rcnn/last.pth')
)
# An iteration takes longer than that of a single-stage detector, and fewer suffice.
semantic_iters = 3600
_regression, _semantic = _base_.train_cfg.steps
_semantic.iters = _semantic.param_scheduler[0].total_steps = semantic_iters
_semantic.objectives[0].proposals_per_image = 16
train_cfg = dict(steps=[_regression, _semantic])
