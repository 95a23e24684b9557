"""Location, classes and image scale of the data set; the number of classes is in model.py."""

# Set DATA_ROOT to a folder with images/ + train.json (COCO json), unlabeled.txt (one video a line)
# and val/ + val/val.json (COCO-VID json).
data_root = '{{$DATA_ROOT:data/person}}/'
classes = ('person',)
scale = (1600, 720)  # long side at most, short side

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
            dict(type='PackVideoFrame'),
        ],
    ),
)
test_evaluator = dict(type='VIDMetric', ann_file=data_root + 'val/val.json', per_video=True)
test_cfg = dict(type='VideoTestLoop', key_interval=10)
