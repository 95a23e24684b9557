"""Stage two: regression loss, then semantic loss, on unlabeled mp4 files, without the model."""

# EXPERIMENT_DIR is set by tools/run_experiment.py.
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(
            type='UnlabeledVideoDataset',
            ann_file='{{$EXPERIMENT_DIR:work_dirs/quickstart}}/dataset/videos.txt',
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

regression_iters = 3200
semantic_iters = 1500
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
            # Still pairs keep the task network accurate on the key frames' own features.
            train_dataloader=dict(dataset=dict(dataset=dict(interval=dict(low=0)))),
            param_scheduler=[
                dict(type='OneCycleLR', eta_max=5e-4, total_steps=semantic_iters, by_epoch=False)
            ],
        ),
    ],
)
