"""A small version of DFF's segmentation network for five classes, the background and the objects.

ResNet-18 cut after its third stage (stride 16), a 3 x 3 convolution, whose output is propagated, and a 1 x 1
convolution for the scores (DFF section 4, "Semantic Segmentation Network"). Backbone and neck are those of the quick
start's R-FCN.
"""

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
        depth=18,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
    ),
    neck=dict(type='mmdet.RFCNNeck', in_channels=256, out_channels=256, dilation=2, init_std=0.03),
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
