"""Stage two: regression loss, then semantic loss, on unlabeled mp4 files.

The checkpoint of the first step, ``regression.pth``, is the row *reg*; the last one is *two-step*.
"""

_base_ = ['../../../_base_/default_runtime.py', '../../_base_/data.py']

# What is left open (channels and strides of the maps, scale of the input) follows from the detector. The finest maps
# have stride 8; a flow of stride 16 is too coarse for them.
temporal = dict(
    type='TemporalModule',
    flow_network=dict(type='FlowNetS', width=3 / 8, stride=8),
    init_std=None,
)
video_detector = dict(
    type='SemiDFF',
    temporal=temporal,
    both_directions=True,
    # All frames of the quick start's data set.
    feature_cache=2.0,
)
# The scale field is new, since it has as many channels as the detector's maps.
load_parts = dict(
    flow=dict(
        part='temporal.flow_network',
        prefix='temporal.flow_network',
        checkpoint='{{$EXPERIMENT_DIR:work_dirs/quickstart_detectors}}/flow/last.pth',
    )
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(
            type='UnlabeledVideoDataset',
            ann_file=_base_.data_root + 'videos.txt',
            interval=dict(type='UniformInterval', low=1, high=9),
            window=20,
            pairs_per_window=8,
            interleave=8,
            # Without flips, which would double the number of frames whose features are computed.
            pipeline=[dict(type='PackFramePair')],
        ),
    ),
)

regression_iters = 300
semantic_iters = 3000
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='Adam', lr=8e-4, fused=True),
    clip_grad=dict(max_norm=1.0),
)
train_cfg = dict(
    type='DistillationLoop',
    steps=[
        dict(
            name='regression',
            iters=regression_iters,
            objectives=[dict(type='FeatureRegression')],
            trainable=['temporal'],
            param_scheduler=[
                dict(type='OneCycleLR', eta_max=8e-4, total_steps=regression_iters, by_epoch=False)
            ],
        ),
        dict(
            name='semantic',
            iters=semantic_iters,
            objectives=[dict(type='FeatureSemantics')],
            trainable=['temporal', 'task_network'],
            param_scheduler=[
                dict(type='OneCycleLR', eta_max=8e-4, total_steps=semantic_iters, by_epoch=False)
            ],
        ),
    ],
)
