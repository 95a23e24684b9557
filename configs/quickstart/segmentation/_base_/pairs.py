"""Data of supervised training: pairs of videos with a labeled current frame, and stills, 2:1."""

_base_ = ['./data.py']

_train = dict(type='CocoVIDDataset', data_root=_base_.data_root)
videos = dict(
    _train, ann_file='train_labels.json', data_prefix=dict(img='train/', seg='train_labels/')
)
stills = dict(
    _train, ann_file='stills_labels.json', data_prefix=dict(img='stills/', seg='stills_labels/')
)
_pairs = dict(
    type='LabeledPairDataset',
    interval=dict(type='UniformInterval', low=0, high=9),
    pipeline=[
        dict(
            type='TransformBroadcaster',
            share_random_params=True,
            transforms=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadLabelMap'),
                dict(type='RandomFlip', prob=0.5),
            ],
        ),
        dict(type='PackFramePair', packer='mmseg.PackSegInputs'),
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
