"""Data of supervised training on the generated data set: labeled frames of videos and stills, 2:1 (DFF 5.1)."""

_base_ = ['./data.py']

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
    num_workers=0,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        datasets=[dict(_pairs, dataset=videos), dict(_pairs, dataset=stills)],
        ratio=(2, 1),
    ),
)
