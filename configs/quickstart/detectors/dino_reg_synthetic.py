"""Stage two on generated data: DINO on unlabeled videos, with the regression loss alone.

DINO's encoder selects the queries, so that those of student and teacher cannot be compared.
"""

_base_ = ['./_base_/dino.py', './_base_/stage_two.py']

model = dict(
    _delete_=True,
    detector=_base_.model,
    split=dict(type='ExtractFeatSplit'),
    **_base_.video_detector,
)
load_parts = dict(
    detector=dict(
        part='spatial.detector',
        checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/dino/last.pth',
    )
)
iters = 1500
train_cfg = dict(
    steps=[
        dict(
            name='regression',
            iters=iters,
            objectives=[dict(type='FeatureRegression')],
            trainable=['temporal'],
            param_scheduler=[
                dict(type='OneCycleLR', eta_max=8e-4, total_steps=iters, by_epoch=False)
            ],
        ),
    ],
)
