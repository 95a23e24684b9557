"""Flow pre-training on pairs with true optical flow, the role of Flying Chairs: the *flow* baseline."""

_base_ = ['../_base_/default_runtime.py', './_base_/model.py', './_base_/world.py']

model = dict(
    type='FlowPretrainer',
    temporal=_base_.temporal,
    data_preprocessor=_base_.data_preprocessor,
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(
            type='FlyingChairsDataset',
            data_root=_base_.world + 'flow',
            ann_file='split.txt',
            data_prefix=dict(img=''),
            split='train',
            flip=True,
        ),
    ),
)
iters = 1000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters)
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='Adam', lr=8e-4),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=8e-4, total_steps=iters, by_epoch=False),
]
test_dataloader = None
test_evaluator = None
test_cfg = None
