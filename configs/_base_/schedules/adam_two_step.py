"""Stage two in two steps with Adam, for the small models of the quick start and of own data."""

regression_iters = 3200
semantic_iters = 1500
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='Adam', lr=8e-4, fused=True),
    # Below the usual norm with any detector, as Adam's steps do not depend on the scale of the
    # gradients. With a larger bound, a single pair of frames may move the flow outside the maps,
    # where it has no gradient.
    clip_grad=dict(max_norm=0.1),
)
train_cfg = dict(
    steps=[
        dict(
            name='regression',
            iters=regression_iters,
            objectives=[dict(type='FeatureRegression')],
            trainable=['temporal'],
            param_scheduler=[dict(type='OneCycleLR', eta_max=8e-4, by_epoch=False)],
        ),
        dict(
            name='semantic',
            iters=semantic_iters,
            objectives=[dict(type='FeatureSemantics')],
            trainable=['temporal', 'task_network'],
            # Still pairs keep the task network accurate on the key frames' own features.
            train_dataloader=dict(dataset=dict(dataset=dict(interval=dict(low=0)))),
            param_scheduler=[dict(type='OneCycleLR', eta_max=5e-4, by_epoch=False)],
        ),
    ],
)
