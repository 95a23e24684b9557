"""A small version of DFF's segmentation network, and the label maps of the generated data set.

There are five classes, the background and the objects. ResNet-18 cut after its third stage (stride
16), a 3 x 3 convolution, whose output is propagated, and a 1 x 1 convolution for the scores (DFF
section 4, "Semantic Segmentation Network").
"""

_base_ = ['../../_base_/model.py', '../../_base_/data.py']

network = dict(
    type='mmseg.EncoderDecoder',
    _scope_='mmseg',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size_divisor=1,
    ),
    # Backbone and neck are those of the quick start's R-FCN.
    backbone=dict(_base_.detector.backbone, type='mmdet.ResNet'),
    neck=dict(_base_.detector.neck, type='mmdet.RFCNNeck'),
    decode_head=dict(
        type='FCNHead',
        num_convs=0,
        concat_input=False,
        in_channels=256,
        channels=256,
        in_index=0,
        num_classes=5,
        dropout_ratio=0,
        # As PyTorch's mean: over the pixels that have a label.
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    test_cfg=dict(mode='whole'),
)

test_dataloader = dict(
    dataset=dict(
        ann_file='val_labels.json',
        data_prefix=dict(img='val/', seg='val_labels/'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale_factor=1.0),
            dict(type='LoadLabelMap'),
            dict(type='PackVideoFrame', packer='mmseg.PackSegInputs'),
        ],
    ),
)
test_evaluator = dict(_delete_=True, type='VideoIoUMetric')
