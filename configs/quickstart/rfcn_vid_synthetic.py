"""Stage one fine-tuned on single labeled frames of videos: *frame* of DFF's Tables 3 and 4."""

_base_ = ['./dff_synthetic.py']

model = dict(_delete_=True, **_base_.detector, data_preprocessor=_base_.data_preprocessor)
load_parts = dict(
    _delete_=True,
    detector=dict(part='', checkpoint='{{$RUN_DIR:work_dirs/quickstart/seed0}}/stage_one/last.pth'),
)
_single = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(_base_.videos, pipeline=_single),
            dict(_base_.stills, pipeline=_single),
        ],
    ),
)
