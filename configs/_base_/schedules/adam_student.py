"""Training of a detector on the boxes of a teacher: few iterations from good weights."""

# Adam's steps do not depend on the scale of the gradients, so that one rate suits all detectors.
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-5, weight_decay=1e-4),
    clip_grad=dict(max_norm=20),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, T_max=1000, eta_min_ratio=0.05),
]
custom_hooks = [
    dict(type='FrozenNormHook'),
    # A mean of the weights: labels are noisy, and so are single iterations.
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.002, gamma=100, priority=49),
]
