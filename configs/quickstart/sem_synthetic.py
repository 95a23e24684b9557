"""The row *sem* in the generated world: the semantic objective alone, from a random start."""

_base_ = ['./two_step_synthetic.py']

iters = 2600
train_cfg = dict(
    steps=[
        dict(
            name='semantic',
            iters=iters,
            objectives=[dict(type='FeatureSemantics')],
            trainable=['temporal', 'task_network'],
            param_scheduler=[
                dict(type='OneCycleLR', eta_max=8e-4, total_steps=iters, by_epoch=False)
            ],
        ),
    ],
)
