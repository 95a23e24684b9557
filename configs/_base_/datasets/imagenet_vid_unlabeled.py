# Unlabeled videos: the snippets of ImageNet VID's training set as folders of frames.
#
# The current frames are those of the authors' list, 15 of each of 3,862 snippets (57,834 in all).
# Each pass has every listed frame once. No annotation is read: unlike the authors, frames without a
# box are not left out.
#
# For all frames list the snippets, see configs/semi_dff/semi-dff_r101_imagenet-det-vid_plus.py.
data_root = 'data/ILSVRC2015/'

pair_pipeline = [
    dict(
        type='TransformBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='Resize', scale=(1000, 600), keep_ratio=True),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackFramePair'),
]

train_dataloader = dict(
    batch_size=1,  # on each of 4 GPUs
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(
            type='UnlabeledVideoDataset',
            ann_file=data_root + 'ImageSets/VID_train_15frames.txt',
            data_prefix=data_root + 'Data/VID',
            lists='frames',
            pipeline=pair_pipeline,
            interval=dict(type='UniformInterval', low=1, high=9),
            clip_interval=True,
            pairs_per_window=1,
            interleave=1,
        ),
    ),
)
