# DFF's segmentation network (section 4): ResNet-101 with stride 16, 3 x 3 convolution to 1024
# channels (dilation 6), whose output is propagated, and a 1 x 1 convolution for the scores of
# Cityscapes' 19 classes. It is DeepLab with a large field of view; the paper adds a background
# class, which is not evaluated.
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
    backbone=dict(
        type='mmdet.ResNet',
        depth=101,
        num_stages=4,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        out_indices=(3,),
        frozen_stages=1,
        # Statistics are frozen; scale and shift are trained above the frozen stages.
        norm_cfg=dict(type='BN', requires_grad=True, eps=1e-5),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    neck=dict(type='mmdet.RFCNNeck', in_channels=2048, out_channels=1024, dilation=6),
    decode_head=dict(
        type='FCNHead',
        num_convs=0,
        concat_input=False,
        in_channels=1024,
        channels=1024,
        in_index=0,
        num_classes=19,
        dropout_ratio=0,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    test_cfg=dict(mode='whole'),
)
