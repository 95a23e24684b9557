# Frame pairs for supervised training (DFF section 3, 5.1): labeled frames of ImageNet VID, each
# with a key frame 0 to 9 frames before it, and images of ImageNet DET, which are their own key
# frames. Only the current frame needs labels: 15 frames of a snippet are labeled, but each can be a
# key frame.
_base_ = './imagenet_det_vid.py'

pair_pipeline = [
    dict(
        type='TransformBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=(1000, 600), keep_ratio=True),
            dict(type='RandomFlip', prob=0.5),
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
