"""Location and classes of the data set; the only file to change for your own videos."""

# Set DATA_ROOT to a folder with images/ + train.json (COCO json), unlabeled.txt (one video a line) and
# val/ + val/val.json (COCO-VID json).
data_root = '{{$DATA_ROOT:data/person}}/'
classes = ('person',)
scale = (1600, 720)  # long side at most, short side

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
        data_root=data_root,
        ann_file='val/val.json',
        data_prefix=dict(img='val/'),
        metainfo=dict(classes=classes),
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=scale, keep_ratio=True),
            dict(type='PackDetInputs', meta_keys=meta_keys),
        ],
    ),
)
test_evaluator = dict(type='VIDMetric', ann_file=data_root + 'val/val.json', per_video=True)
test_cfg = dict(type='VideoTestLoop', key_interval=10)
