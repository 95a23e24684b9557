"""Stage two: regression loss, then semantic loss, on unlabeled videos.

The checkpoint of the first step, ``regression.pth``, is the row *reg*; the last one is *two-step*.
"""

_base_ = ['../_base_/default_runtime.py', './_base_/model.py', './_base_/data.py']

model = dict(
    type='SemiDFF',
    detector=_base_.detector,
    temporal=_base_.temporal,
    data_preprocessor=_base_.data_preprocessor,
    both_directions=True,
)
load_parts = dict(
    detector=dict(
        part='spatial.detector',
        checkpoint='{{$EXPERIMENT_DIR:work_dirs/person}}/stage_one/last.pth',
    )
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(
            type='UnlabeledVideoDataset',
            ann_file=_base_.data_root + 'unlabeled.txt',
            # Larger distances than l = 10 needs, so that longer key-frame intervals work too.
            interval=dict(type='UniformInterval', low=1, high=19),
            window=40,
            pairs_per_window=8,
            interleave=4,
            pipeline=[
                dict(
                    type='TransformBroadcaster',
                    auto_remap=True,
                    share_random_params=True,
                    transforms=[
                        dict(type='Resize', scale=_base_.scale, keep_ratio=True),
                        dict(type='RandomCrop', crop_size=(480, 640)),
                        dict(type='RandomFlip', prob=0.5),
                    ],
                ),
                dict(type='PackFramePair'),
            ],
        ),
    ),
)
regression_iters = 1200
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
            # Still pairs keep the task network accurate on the key frames' own features.
            train_dataloader=dict(dataset=dict(dataset=dict(interval=dict(low=0)))),
            param_scheduler=[
                dict(type='OneCycleLR', eta_max=5e-4, total_steps=semantic_iters, by_epoch=False)
            ],
        ),
    ],
)
