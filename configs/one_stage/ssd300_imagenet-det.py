# SSD300 of semi-DFF Table 2 (56.33 mAP): mmdetection's model; batch size and schedule of SSD's
# paper for VOC, on one GPU.  On 4 GPUs set train_dataloader.batch_size=8.
_base_ = [
    '../_base_/default_runtime.py',
    'mmdet::_base_/models/ssd300.py',
    '../_base_/datasets/imagenet_det.py',
    '../_base_/datasets/imagenet_vid_val.py',
]

model = dict(bbox_head=dict(num_classes=30))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='Expand',
        mean=_base_.model.data_preprocessor.mean,
        to_rgb=_base_.model.data_preprocessor.bgr_to_rgb,
        ratio_range=(1, 4),
    ),
    dict(type='MinIoURandomCrop', min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
    dict(type='Resize', scale=(300, 300), keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18,
    ),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(batch_size=32, dataset=dict(dataset=dict(pipeline=train_pipeline)))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(300, 300), keep_ratio=False),
    _base_.test_pipeline[-1],
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

train_cfg = dict(type='IterBasedTrainLoop', max_iters=120_000)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[80_000, 100_000], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=32)
