# FlowNet's schedule (Dosovitskiy et al. 2015, section 5.1): Adam, 1e-4, halved every 100,000
# iterations after the first 300,000; 8 pairs per iteration.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=600_000, val_interval=20_000)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.999)),
)
param_scheduler = [
    dict(
        type='MultiStepLR',
        by_epoch=False,
        milestones=[300_000, 400_000, 500_000],
        gamma=0.5,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=8)
