"""Flow pre-training on pairs with true flow, in place of Flying Chairs: the *flow* baseline."""

_base_ = ['../_base_/default_runtime.py', './_base_/model.py', './_base_/data.py']

model = dict(
    type='FlowPretrainer',
    temporal=_base_.temporal,
    # The benchmarks were measured with these; the default is FlowNet's.
    coarse_weights=(0.32, 0.08, 0.02, 0.01),
    data_preprocessor=_base_.data_preprocessor,
)
pairs = dict(
    type='FlyingChairsDataset',
    data_root=_base_.data_root + 'flow',
    ann_file='split.txt',
    data_prefix=dict(img=''),
)
train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(
            pairs,
            split='train',
            pipeline=[
                dict(type='LoadFlowPair'),
                dict(type='RandomFlipFlowPair'),
                dict(type='PackFlowPair'),
            ],
        ),
    ),
)
iters = 1000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters)
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='Adam', lr=8e-4, fused=True),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=8e-4, total_steps=iters, by_epoch=False),
]
# End-point error on held-out pairs:
#   python tools/test.py configs/quickstart/flow_synthetic.py CHECKPOINT
test_dataloader = dict(
    _delete_=True,
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        pairs,
        split='val',
        test_mode=True,
        pipeline=[dict(type='LoadFlowPair'), dict(type='PackFlowPair')],
    ),
)
test_evaluator = dict(_delete_=True, type='EndPointErrorMetric')
test_cfg = dict(_delete_=True, type='TestLoop')
