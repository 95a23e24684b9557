"""Stage one: an image detector is trained on labeled stills."""

_base_ = ['../../_base_/default_runtime.py', './data.py']

train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(
            type='CocoVIDDataset',
            data_root=_base_.data_root,
            ann_file='stills.json',
            data_prefix=dict(img='stills/'),
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='RandomFlip', prob=0.5),
                dict(type='PackDetInputs'),
            ],
        ),
    ),
)
iters = 500
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters)
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=iters, by_epoch=False),
]
