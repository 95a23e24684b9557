"""Stage two for a weak detector and few videos, row *fix-task*: the task network is frozen.

The second step of the paper is that of ``two_step_person.py``. With a weak detector, a trained task
network forgets what these videos do not show, and the semantic loss alone does not preserve
features that it does not need (docs/benchmarks.md, "Untrained scenes"). Here the
second step trains the temporal module alone and keeps the regression loss.
"""

_base_ = ['./two_step_person.py']

_same_for_both, _pack = _base_.train_dataloader.dataset.dataset.pipeline
_resize, _crop, _flip = _same_for_both.transforms
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(_same_for_both, transforms=[_resize, _flip]),
                # The cameras of these videos are static; those of other videos may move.
                dict(type='RandomPan', crop_size=_crop.crop_size, max_speed=6),
                _pack,
            ],
        ),
    ),
)
_regression, _semantic = _base_.train_cfg.steps
train_cfg = dict(
    steps=[
        _regression,
        dict(
            _semantic,
            objectives=[dict(type='FeatureSemantics'), dict(type='FeatureRegression')],
            trainable=['temporal'],
        ),
    ]
)
