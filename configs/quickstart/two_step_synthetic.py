"""Stage two on generated data: regression loss, then semantic loss, on unlabeled mp4 files.

The checkpoint of the first step, ``regression.pth``, is the row *reg*; the last one is *two-step*.
"""

_base_ = [
    '../_base_/default_runtime.py',
    './_base_/model.py',
    './_base_/data.py',
    './_base_/stage_two.py',
]

model = dict(
    type='SemiDFF',
    detector=_base_.detector,
    temporal=_base_.temporal,
    data_preprocessor=_base_.data_preprocessor,
    both_directions=True,
    # All frames of the quick start's data set, flipped and not, take 1.9 GB in float32 and half of
    # that in bfloat16.
    feature_cache=2.0,
)
# RUN_DIR is set by configs/_base_/experiment.mk.
load_parts = dict(
    detector=dict(
        part='spatial.detector',
        checkpoint='{{$RUN_DIR:work_dirs/quickstart/seed0}}/stage_one/last.pth',
    )
)
