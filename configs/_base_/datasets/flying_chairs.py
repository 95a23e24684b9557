# Flying Chairs: 22,872 pairs of 384 x 512 with true flow, 640 of them for validation
# (docs/flow.md).
data_root = 'data/FlyingChairs_release/'

chairs = dict(
    type='FlyingChairsDataset',
    data_root=data_root,
    ann_file='FlyingChairs_train_val.txt',
    data_prefix=dict(img='data'),
)
# FlowNet's augmentation (Dosovitskiy et al. 2015, section 4.3)
train_pipeline = [
    dict(type='LoadFlowPair'),
    dict(
        type='RandomAffineFlowPair',
        crop_size=(320, 448),
        translation=0.2,
        rotation=17,
        scale=(0.9, 2.0),
    ),
    dict(type='RandomColorFlowPair'),
    dict(type='PackFlowPair'),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='StreamSampler'),
    dataset=dict(type='SampleStream', dataset=dict(chairs, split='train', pipeline=train_pipeline)),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        chairs,
        split='val',
        test_mode=True,
        pipeline=[dict(type='LoadFlowPair'), dict(type='PackFlowPair')],
    ),
)
val_evaluator = dict(type='EndPointErrorMetric')
val_cfg = dict(type='ValLoop')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
test_cfg = dict(type='TestLoop')
