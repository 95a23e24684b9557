"""Deep Feature Flow on generated data: all is trained together, with labels (DFF section 3)."""

_base_ = ['../_base_/default_runtime.py', './_base_/model.py', './_base_/data.py']

# Labeled frames of videos and stills, 2:1 (DFF 5.1).
_train = dict(
    type='CocoVIDDataset',
    data_root=_base_.data_root,
    filter_cfg=dict(filter_empty_gt=True),
)
# One frame in three is labeled; any frame can be the key frame.
videos = dict(_train, ann_file='train.json', data_prefix=dict(img='train/'))
stills = dict(_train, ann_file='stills.json', data_prefix=dict(img='stills/'))

_pairs = dict(
    type='LabeledPairDataset',
    interval=dict(type='UniformInterval', low=0, high=9),
    pipeline=[
        dict(
            type='TransformBroadcaster',
            share_random_params=True,
            transforms=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='RandomFlip', prob=0.5),
            ],
        ),
        dict(type='PackFramePair'),
    ],
)
train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        datasets=[dict(_pairs, dataset=videos), dict(_pairs, dataset=stills)],
        ratio=(2, 1),
    ),
)

model = dict(
    type='VideoDetector',
    detector=_base_.detector,
    temporal=_base_.temporal,
    data_preprocessor=_base_.data_preprocessor,
)
_run = '{{$RUN_DIR:work_dirs/quickstart/seed0}}'
load_parts = dict(
    detector=dict(part='spatial.detector', checkpoint=_run + '/stage_one/last.pth'),
    flow=dict(part='temporal', prefix='temporal', checkpoint=_run + '/flow/last.pth'),
)

iters = 500
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters)
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=5e-4, total_steps=iters, by_epoch=False),
]
