# semi-DFF with YOLOv3-416, stage two on unlabeled videos.
_base_ = './_base_/semi-dff.py'

model = dict(detector='configs/one_stage/yolov3-416_imagenet-det.py')
load_parts = dict(
    detector=dict(part='spatial.detector', checkpoint='work_dirs/yolov3-416_imagenet-det/last.pth')
)

_resize = dict(type='Resize', scale=(416, 416), keep_ratio=True)
pair_pipeline = [
    dict(
        type='TransformBroadcaster',
        share_random_params=True,
        transforms=[_resize, dict(type='RandomFlip', prob=0.5)],
    ),
    _base_.pair_pipeline[-1],
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=pair_pipeline)))
test_pipeline = [dict(type='LoadImageFromFile'), _resize, _base_.test_pipeline[-1]]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
