# Pairs of imagenet_det_vid_pairs.py, prepared as in the original.
_base_ = './original_pipelines.py'

pair_pipeline = [
    dict(
        type='TransformBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
            dict(type='LoadAnnotations', with_bbox=True),
            *_base_.prepare,
        ],
    ),
    dict(type='PackFramePair'),
]
pairs = dict(
    type='LabeledPairDataset',
    interval=dict(type='UniformInterval', low=0, high=9),
    pipeline=pair_pipeline,
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            datasets=[
                dict(pairs, dataset=_base_.imagenet_vid),
                dict(pairs, dataset=_base_.imagenet_det),
            ],
        )
    )
)
