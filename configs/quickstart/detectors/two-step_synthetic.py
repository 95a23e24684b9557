"""Stage two on unlabeled mp4 files: regression loss, then semantic loss, with ATSS.

The checkpoint of the first step, ``regression.pth``, is the row *reg*; the last one is *two-step*.
Settings for other detectors are in experiment_detectors.py.
"""

_base_ = [
    '../../_base_/default_runtime.py',
    '../_base_/data.py',
    '../_base_/stage_two.py',
]

# What is left open (channels and strides of the maps, scale of the input) follows from the
# detector. The finest maps have stride 8; a flow of stride 16 is too coarse for them.
model = dict(
    type='SemiDFF',
    detector='configs/quickstart/detectors/atss_synthetic.py',
    split=dict(type='TowerSplit'),
    temporal=dict(
        type='TemporalModule',
        flow_network=dict(type='FlowNetS', width=3 / 8, stride=8),
        init_std=None,
    ),
    both_directions=True,
    # The largest maps of all 16,000 frames, those of RTMDet-tiny, are 6.2 GB; with 7 GB, its
    # training takes as long.
    feature_cache=5.0,
)
# The scale field is new, since it has as many channels as the detector's maps.
load_parts = dict(
    flow=dict(
        part='temporal.flow_network',
        prefix='temporal.flow_network',
        checkpoint='{{$EXPERIMENT_DIR:work_dirs/quickstart_detectors}}/flow/last.pth',
    ),
    detector=dict(
        part='spatial.detector',
        checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors/seed0}}/atss/last.pth',
    ),
)
# Without flips, which would double the number of frames whose features are computed.
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=[dict(type='PackFramePair')])))
regression_iters = 300
# Stage two takes less than 20 minutes on 2 cores. With 4,000 iterations, RetinaNet recovers 84 to
# 86 % of the gap.
semantic_iters = 5000
_regression, _semantic = _base_.train_cfg.steps
_regression.iters = regression_iters
_semantic.iters = semantic_iters
_semantic.param_scheduler[0].eta_max = 8e-4
train_cfg = dict(steps=[_regression, _semantic])
