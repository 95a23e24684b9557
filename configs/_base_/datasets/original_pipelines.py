# ImageNet DET and VID with images and boxes prepared as in the original, for training on single
# images and for tests.  original_pairs.py has the frame pairs.
_base_ = ['./imagenet_det_vid.py', './imagenet_vid_val.py']

# The original mirrors images before it resizes them.
prepare = [
    dict(type='OriginalFlip', prob=0.5),
    dict(type='OriginalResize', scale=(1000, 600)),
]
train_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='LoadAnnotations', with_bbox=True),
    *prepare,
    dict(type='PackDetInputs'),
]
imagenet_det = dict(pipeline=train_pipeline)
imagenet_vid = dict(pipeline=train_pipeline)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            datasets=[
                dict(_base_.imagenet_vid, pipeline=train_pipeline),
                dict(_base_.imagenet_det, pipeline=train_pipeline),
            ],
        )
    )
)

test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='OriginalResize', scale=(1000, 600)),
    _base_.test_pipeline[-1],
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
