# Cityscapes in its full size of 1024 x 2048, the paper's short side of 1024 pixels.
#
#   python tools/convert_dataset.py cityscapes data/cityscapes data/cityscapes_videos
data_root = 'data/cityscapes_videos/'

train_set = dict(
    type='CocoVIDDataset',
    data_root=data_root,
    ann_file='train.json',
    data_prefix=dict(img='snippets/train/', seg='labels/train/'),
)
_load = [dict(type='LoadImageFromFile'), dict(type='LoadLabelMap')]

# Pairs (k, i) with a labeled current frame i and k in i - 9, ..., i (section 3).
train_dataloader = dict(
    batch_size=1,  # on each of 8 GPUs
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(
            type='LabeledPairDataset',
            dataset=train_set,
            interval=dict(type='UniformInterval', low=0, high=9),
            pipeline=[
                dict(
                    type='TransformBroadcaster',
                    share_random_params=True,
                    transforms=[*_load, dict(type='RandomFlip', prob=0.5)],
                ),
                dict(type='PackFramePair', packer='mmseg.PackSegInputs'),
            ],
        ),
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='VideoSampler'),
    dataset=dict(
        type='CocoVIDDataset',
        data_root=data_root,
        ann_file='val.json',
        data_prefix=dict(img='snippets/val/', seg='labels/val/'),
        test_mode=True,
        pipeline=[*_load, dict(type='PackVideoFrame', packer='mmseg.PackSegInputs')],
    ),
)
test_evaluator = dict(type='VideoIoUMetric')
# Each labeled frame from each of the 5 distances to its key frame, averaged (section 5.2).
test_cfg = dict(type='VideoTestLoop', key_interval=5, protocol='pairs')
