"""Two steps for a weak detector and few videos: the task network stays stage one's. The row *fix-task*.

Departures from the paper, whose second step is ``two_step_person.py``: with a weak detector, a task network that learns
along forgets what these videos do not show, and semantics alone let go of features that they do not need
(docs/benchmarks.md, "What the semantic step trains"). So the temporal module learns alone, and keeps the loss of the
first step.
"""

_base_ = ['./two_step_person.py']

_same_for_both, _pack = _base_.train_dataloader.dataset.dataset.pipeline
_resize, _crop, _flip = _same_for_both.transforms
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(_same_for_both, transforms=[_resize, _flip]),
                # The cameras of these videos stand still; those of others may not.
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
