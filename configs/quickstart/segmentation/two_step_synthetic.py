"""Stage two on generated data: regression loss, then semantic loss, on unlabeled mp4 files.

The checkpoint of the first step, ``regression.pth``, is the row *reg*; the last one is *two-step*. The flow network
starts from random weights.
"""

_base_ = ['./dff_synthetic.py']

model = dict(
    _delete_=True,
    type='SemiDFF',
    detector=_base_.network,
    temporal=_base_.temporal,
    both_directions=True,
    feature_cache=2.0,
)
load_parts = dict(
    _delete_=True,
    network=dict(
        part='spatial.detector', checkpoint='{{$RUN_DIR:work_dirs/quickstart}}/fcn/last.pth'
    ),
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        _delete_=True,
        type='SampleStream',
        dataset=dict(
            type='UnlabeledVideoDataset',
            ann_file=_base_.data_root + 'videos.txt',
            interval=dict(type='UniformInterval', low=1, high=9),
            window=20,
            pairs_per_window=8,
            interleave=8,
            pipeline=[
                dict(
                    type='TransformBroadcaster',
                    auto_remap=True,
                    share_random_params=True,
                    transforms=[dict(type='RandomFlip', prob=0.5)],
                ),
                dict(type='PackFramePair'),
            ],
        ),
    ),
)

regression_iters = 2400
semantic_iters = 800
optim_wrapper = dict(
    _delete_=True,
    type='BFloat16OptimWrapper',
    optimizer=dict(type='Adam', lr=8e-4, fused=True),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = None
train_cfg = dict(
    _delete_=True,
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
                dict(type='OneCycleLR', eta_max=5e-4, total_steps=semantic_iters, by_epoch=False)
            ],
        ),
    ],
)
