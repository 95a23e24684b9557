"""Stage two: regression loss, then semantic loss, on unlabeled mp4 files, without the model."""

_base_ = ['../../_base_/schedules/adam_two_step.py']

# EXPERIMENT_DIR is set by configs/_base_/experiment.mk.
train_dataloader = dict(
    batch_size=4,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(
            type='UnlabeledVideoDataset',
            ann_file='{{$EXPERIMENT_DIR:work_dirs/quickstart}}/dataset/videos.txt',
            interval=dict(type='UniformInterval', low=1, high=9),
            window=20,
            pairs_per_window=8,
            interleave=8,
            pipeline=[
                dict(
                    type='TransformBroadcaster',
                    auto_remap=True,
                    share_random_params=True,
                    transforms=[dict(type='RandomFlip', prob=0.5)],
                ),
                dict(type='PackFramePair'),
            ],
        ),
    ),
)
