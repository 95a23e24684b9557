"""Stage one: R-FCN's own layers on a few labelled images, the ImageNet trunk frozen."""

_base_ = ['../_base_/default_runtime.py', './_base_/model.py', './_base_/data.py']

model = dict(_base_.detector, data_preprocessor=_base_.data_preprocessor)
# torchvision's ResNet-18, or any checkpoint with its names from conv1 to layer3.
load_parts = dict(
    backbone=dict(
        part='backbone',
        checkpoint='{{$TRUNK:data/weights/resnet18.pth}}',
        ignore=['layer4', 'fc'],
    )
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(
            type='CocoVIDDataset',
            data_root=_base_.data_root,
            ann_file='train.json',
            data_prefix=dict(img='images/'),
            metainfo=dict(classes=_base_.classes),
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(
                    type='RandomChoiceResize',
                    scales=[(1600, 560), (1600, 640), (1600, 720), (1600, 800)],
                    keep_ratio=True,
                ),
                dict(type='RandomCrop', crop_size=(480, 640), allow_negative_crop=False),
                dict(type='RandomFlip', prob=0.5),
                dict(type='PackDetInputs'),
            ],
        ),
    ),
)
iters = 500
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters)
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=iters, by_epoch=False),
]
