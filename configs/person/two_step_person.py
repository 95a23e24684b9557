"""Stage two: regression loss, then semantic loss, on unlabeled videos.

The checkpoint of the first step, ``regression.pth``, is the row *reg*; the last one is *two-step*.
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/adam_two_step.py',
    './_base_/model.py',
    './_base_/data.py',
]

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
_regression, _semantic = _base_.train_cfg.steps
_regression.iters = regression_iters
_semantic.iters = semantic_iters
train_cfg = dict(steps=[_regression, _semantic])
