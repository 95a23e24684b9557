"""Stage two, row *sem*: the semantic loss alone, from random weights."""

_base_ = ['./two_step_person.py']

iters = 1500
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
