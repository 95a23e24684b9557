# Unlabeled videos: the snippets of ImageNet VID's training set as folders of frames.
#
#   echo 'Data/VID/train/*/*' > data/ILSVRC2015/vid_train_snippets.txt
#
# Every snippet contributes the same number of pairs, as in the authors' list (15 frames of each of 3,862
# snippets).  Here every frame can be drawn, including frames without a box, and no annotation is read.
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
            # The authors: 1..9 in the regression step, 0..9 in the semantic step, where still pairs
            # keep the heads accurate on key frames.
            interval=dict(type='UniformInterval', low=1, high=9),
            clip_interval=True,
            # One window is one snippet, from which each pass draws one pair: random access to frames
            # in folders is cheap.  Leave these three out for video files.
            window=1_000_000,
            pairs_per_window=1,
            interleave=1,
        ),
    ),
)
