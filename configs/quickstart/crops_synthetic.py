"""Pre-training of the backbone by classification of generated crops, in place of ImageNet."""

_base_ = ['../_base_/default_runtime.py', './_base_/model.py', './_base_/data.py']

model = dict(
    type='CropClassifier',
    # Batch norm is trained here only.
    backbone=dict(
        _base_.detector.backbone, norm_cfg=dict(type='BN', requires_grad=True), norm_eval=False
    ),
    in_channels=256,
    num_classes=20,
    data_preprocessor=dict(_base_.data_preprocessor, type='ImgDataPreprocessor'),
)
train_dataloader = dict(
    batch_size=48,
    sampler=dict(type='StreamSampler'),
    dataset=dict(
        type='SampleStream',
        dataset=dict(type='CropsDataset', ann_file=_base_.data_root + 'crops.npz', flip=True),
    ),
)
iters = 700
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters)
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.01, fused=True),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=2e-3, pct_start=0.15, total_steps=iters, by_epoch=False),
]
test_dataloader = None
test_evaluator = None
test_cfg = None
