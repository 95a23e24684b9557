# Test: ImageNet VID's validation set (555 videos, 176,126 frames), frame by frame.
#
#   python tools/convert_dataset.py imagenet-vid --ann-dir data/ILSVRC2015/Annotations/VID \
#       --image-set data/ILSVRC2015/ImageSets/VID_val_videos.txt \
#       --out data/ILSVRC2015/annotations/imagenet_vid_val.json
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1000, 600), keep_ratio=True),
    dict(type='PackVideoFrame'),
]

test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='VideoSampler'),
    dataset=dict(
        type='ImageNetVIDDataset',
        data_root='data/ILSVRC2015/',
        ann_file='annotations/imagenet_vid_val.json',
        data_prefix=dict(img='Data/VID/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_evaluator = dict(
    type='VIDMetric',
    ann_file='data/ILSVRC2015/annotations/imagenet_vid_val.json',
    class_mean='imagenet',
)
test_cfg = dict(type='VideoTestLoop', key_interval=10)
