# Unlabeled videos: the snippets of ImageNet VID's training set as folders of frames.
#
#   echo 'Data/VID/train/*/*' > data/ILSVRC2015/vid_train_snippets.txt
#
# Each snippet gives as many pairs as any other, whatever its length, as the authors' list does (15
# frames of each of 3,862 snippets).  Unlike there, every frame can be drawn, also those without a
# box, and no annotation is read.
data_root = 'data/ILSVRC2015/'

meta_keys = (
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'video_name',
    'video_length',
    'frame_id',
    'key_frame_id',
)

pair_pipeline = [
    dict(
        type='TransformBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='Resize', scale=(1000, 600), keep_ratio=True),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackFramePair', meta_keys=meta_keys),
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
            ann_file=data_root + 'vid_train_snippets.txt',
            pipeline=pair_pipeline,
            # The authors: 1..9 in the regression step, 0..9 in the semantic one, where still pairs
            # teach the heads to stay right on key frames.
            interval=dict(type='UniformInterval', low=1, high=9),
            clip_interval=True,
            # One window is one snippet, from which each pass takes one pair: a frame in a folder
            # costs the same wherever it is, so nothing is gained by drawing pairs together.  For
            # video files leave these three out.
            window=1_000_000,
            pairs_per_window=1,
            interleave=1,
        ),
    ),
)
