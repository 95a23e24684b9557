"""Where the generated world is, and its evaluation videos."""

# Set by the chain (tools/run_experiment.py); without it, its default folder.
world = '{{$EXPERIMENT_DIR:work_dirs/quickstart}}/world/'

meta_keys = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'video_id',
    'frame_id',
    'video_name',
    'video_length',
    'is_labeled',
)

test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='VideoSampler'),
    dataset=dict(
        type='CocoVIDDataset',
        data_root=world,
        ann_file='val.json',
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale_factor=1.0),
            dict(type='PackDetInputs', meta_keys=meta_keys),
        ],
    ),
)
test_evaluator = dict(type='VIDMetric', ann_file=world + 'val.json')
test_cfg = dict(type='VideoTestLoop', method='propagate', key_interval=10)
