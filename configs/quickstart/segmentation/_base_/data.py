"""Label maps of the generated data set: five classes, the background and the objects."""

_base_ = ['../../_base_/data.py']

test_dataloader = dict(
    dataset=dict(
        ann_file='val_labels.json',
        data_prefix=dict(img='val/', seg='val_labels/'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale_factor=1.0),
            dict(type='LoadLabelMap'),
            dict(type='PackVideoFrame', packer='mmseg.PackSegInputs'),
        ],
    ),
)
test_evaluator = dict(_delete_=True, type='VideoIoUMetric')
