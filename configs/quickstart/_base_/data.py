"""Folder of the generated data set, and its evaluation videos."""

# EXPERIMENT_DIR is set by configs/_base_/experiment.mk.
data_root = '{{$EXPERIMENT_DIR:work_dirs/quickstart}}/dataset/'

test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='VideoSampler'),
    dataset=dict(
        type='CocoVIDDataset',
        data_root=data_root,
        ann_file='val.json',
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale_factor=1.0),
            dict(type='PackVideoFrame'),
        ],
    ),
)
test_evaluator = dict(type='VIDMetric', ann_file=data_root + 'val.json')
test_cfg = dict(type='VideoTestLoop', key_interval=10)
