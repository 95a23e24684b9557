"""Stage one fine-tuned on single labeled frames of videos: *frame* of DFF's Tables 3 and 4."""

_base_ = ['./dff_synthetic.py']

model = dict(_delete_=True, **_base_.network)
load_parts = dict(
    _delete_=True,
    network=dict(part='', checkpoint='{{$RUN_DIR:work_dirs/quickstart/seed0}}/fcn/last.pth'),
)
single = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadLabelMap'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmseg.PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        datasets=[dict(_base_.videos, pipeline=single), dict(_base_.stills, pipeline=single)],
    ),
)
