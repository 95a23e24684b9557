# Pairs of imagenet_vid_unlabeled.py, and the test videos, prepared as in the original.
_base_ = ['./imagenet_vid_unlabeled.py', './imagenet_vid_val.py']

# The original mirrors images before it resizes them.
prepare = [
    dict(type='OriginalFlip', prob=0.5),
    dict(type='OriginalResize', scale=(1000, 600)),
]
pair_pipeline = [
    dict(type='TransformBroadcaster', share_random_params=True, transforms=prepare),
    dict(type='PackFramePair'),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=pair_pipeline)))

test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='OriginalResize', scale=(1000, 600)),
    _base_.test_pipeline[-1],
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
