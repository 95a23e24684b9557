"""Tiny models of every kind that the package's parts must work with, and data for them."""

import logging

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

import semidff.registry  # noqa: F401 (registers the package's parts)

SIZE = (64, 96)  # height, width
CLASSES = 2
L1 = dict(type='SmoothL1Loss', loss_weight=1.0)
CODER = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
SAMPLER = dict(
    type='RandomSampler', num=16, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False
)
RPN_TRAIN = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
    sampler=SAMPLER,
    allowed_border=-1,
    pos_weight=-1,
)
RCNN_TRAIN = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
    sampler=dict(SAMPLER, add_gt_as_proposals=True),
    pos_weight=-1,
)
PROPOSALS = dict(
    nms_pre=100, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0
)
FINAL = dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.3), max_per_img=20)
TWO_STAGE = dict(
    train_cfg=dict(rpn=RPN_TRAIN, rpn_proposal=PROPOSALS, rcnn=RCNN_TRAIN),
    test_cfg=dict(rpn=PROPOSALS, rcnn=FINAL),
)


def backbone(**kwargs) -> dict:
    """A ResNet-18 of an eighth of the width."""
    return dict(type='ResNet', depth=18, base_channels=8, num_stages=4, norm_eval=True, **kwargs)


def anchors(strides: list[int], **kwargs) -> dict:
    """Small anchors."""
    return dict(type='AnchorGenerator', scales=[2], ratios=[0.5, 1.0], strides=strides, **kwargs)


def rfcn(**head) -> dict:
    """R-FCN of stride 16 with 3 x 3 bins; ``head`` changes the position-sensitive head."""
    bbox_head = dict(
        type='RFCNBBoxHead',
        in_channels=16,
        num_classes=CLASSES,
        bins=3,
        bbox_coder=CODER,
        loss_cls=dict(type='CrossEntropyLoss'),
        loss_bbox=L1,
    )
    return dict(
        type='RFCN',
        backbone=backbone(
            strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), out_indices=(3,), frozen_stages=1
        ),
        neck=dict(type='RFCNNeck', in_channels=64, out_channels=32, dilation=2, init_std=0.08),
        rpn_head=dict(
            type='RFCNRPNHead',
            in_channels=16,
            anchor_generator=anchors([16]),
            bbox_coder=CODER,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
            loss_bbox=L1,
        ),
        roi_head=dict(type='RFCNRoIHead', bbox_head=dict(bbox_head, **head)),
        **TWO_STAGE,
    )


def faster_rcnn() -> dict:
    """Faster R-CNN with a feature pyramid of strides 4 to 32."""
    strides = [4, 8, 16, 32]
    return dict(
        type='FasterRCNN',
        backbone=backbone(),
        neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=4),
        rpn_head=dict(
            type='RPNHead',
            in_channels=16,
            feat_channels=16,
            anchor_generator=anchors(strides),
            bbox_coder=CODER,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=L1,
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=0),
                out_channels=16,
                featmap_strides=strides,
            ),
            bbox_head=dict(
                type='Shared2FCBBoxHead',
                in_channels=16,
                fc_out_channels=16,
                roi_feat_size=3,
                num_classes=CLASSES,
                bbox_coder=CODER,
                loss_cls=dict(type='CrossEntropyLoss'),
                loss_bbox=L1,
            ),
        ),
        **TWO_STAGE,
    )


def retinanet(width: int = 16, **head) -> dict:
    """RetinaNet with levels of strides 8 to 32; ``head`` changes the head."""
    bbox_head = dict(
        type='RetinaHead',
        num_classes=CLASSES,
        in_channels=width,
        stacked_convs=1,
        feat_channels=width,
        anchor_generator=anchors([8, 16, 32]),
        bbox_coder=CODER,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_bbox=L1,
    )
    return dict(
        type='RetinaNet',
        backbone=backbone(),
        neck=dict(
            type='FPN', in_channels=[8, 16, 32, 64], out_channels=width, start_level=1, num_outs=3
        ),
        bbox_head=dict(bbox_head, **head),
        train_cfg=dict(
            assigner=dict(RCNN_TRAIN['assigner'], min_pos_iou=0.0), allowed_border=-1, pos_weight=-1
        ),
        test_cfg=dict(nms_pre=100, min_bbox_size=0, **FINAL),
    )


def fcos() -> dict:
    """FCOS, whose boxes are relative to the stride in training and in pixels in tests."""
    head = dict(
        type='FCOSHead',
        num_classes=CLASSES,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        strides=[8, 16, 32],
        regress_ranges=((-1, 32), (32, 64), (64, 1e8)),
        norm_on_bbox=True,
        norm_cfg=None,
    )
    return dict(retinanet(), type='FCOS', bbox_head=head, train_cfg=None)


def yolox() -> dict:
    """YOLOX with levels of strides 8 to 32, whose frames are padded by its pipeline."""
    return dict(
        type='YOLOX',
        backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125),
        neck=dict(type='YOLOXPAFPN', in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1),
        bbox_head=dict(
            type='YOLOXHead', num_classes=CLASSES, in_channels=16, feat_channels=16, stacked_convs=1
        ),
        test_cfg=dict(score_thr=1e-5, nms=dict(type='nms', iou_threshold=0.65)),
    )


# Detector, channels and strides of the features that are propagated.
KINDS = dict(
    rfcn=(rfcn, 32, (16,)),
    faster_rcnn=(faster_rcnn, 16, (4, 8, 16, 32)),
    retinanet=(retinanet, 16, (8, 16, 32)),
)
EXPORTED = dict(KINDS, yolox=(yolox, 16, (8, 16, 32)))


def temporal(channels: int = 32, strides: tuple[int, ...] = (16,), **kwargs) -> dict:
    """FlowNetS of an eighth of the width, started so that it sees something."""
    flow_network = dict(type='FlowNetS', width=1 / 8, input_scale=1.0)
    parts = dict(flow_network=flow_network, feat_channels=channels, feat_strides=strides)
    return dict(parts, type='TemporalModule', **{'init_std': None, **kwargs})


def video_config(kind: str = 'rfcn', model: str = 'SemiDFF', **kwargs) -> dict:
    """Config of a video detector around a kind of detector."""
    detector, channels, strides = EXPORTED[kind]
    preprocessor = dict(
        type='VideoDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, pad_size_divisor=32
    )
    parts = dict(
        detector=detector(), temporal=temporal(channels, strides), data_preprocessor=preprocessor
    )
    return dict(parts, type=model, **kwargs)


def build(config: dict, seed: int = 0, init: bool = True) -> nn.Module:
    """Builds and initializes a model; without ``init``, in eval mode with PyTorch's weights."""
    init_default_scope('mmdet')
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(config))
    if not init:
        return model.eval()
    if hasattr(model, 'init_weights'):
        logging.disable(logging.INFO)  # a line for each parameter
        model.init_weights()
        logging.disable(logging.NOTSET)
    if hasattr(model, 'reset_teacher'):
        model.reset_teacher()
    return model


def tiny_rfcn(**head) -> nn.Module:
    """A tiny R-FCN."""
    return build(rfcn(**head))


def tiny_semi_dff(kind: str = 'rfcn', **kwargs) -> nn.Module:
    """A tiny SemiDFF whose temporal module moves features and whose batch norm has statistics."""
    model = build(video_config(kind, **kwargs))
    awake(model)
    model.reset_teacher()
    return model


def tiny_video_detector(kind: str = 'rfcn', **kwargs) -> nn.Module:
    """A tiny VideoDetector, likewise."""
    model = build(video_config(kind, 'VideoDetector', **kwargs))
    awake(model)
    return model


@torch.no_grad()
def awake(model: nn.Module) -> None:
    """Weights at which nothing is zero by accident."""
    generator = torch.Generator().manual_seed(1)

    def random(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=generator)

    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean += 0.1 * random(module.running_mean)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias += 0.02 * random(module.bias)
    # Flows of a fraction of a cell: far outside the map the warp has no gradient.
    model.temporal.flow_network.predict_flow.weight *= 0.2
    model.temporal.scale.weight += 0.02 * random(model.temporal.scale.weight)
    for name, parameter in model.spatial.named_parameters():
        if 'head' in name and name.endswith('weight'):
            parameter += 0.1 * random(parameter)


def frames(count: int, seed: int = 0) -> Tensor:
    """Normalized frames (count, 3, H, W)."""
    return torch.randn((count, 3, *SIZE), generator=torch.Generator().manual_seed(seed))


def samples(count: int, same: bool = False, boxes: bool = False) -> list[DetDataSample]:
    """Data samples of frame 5 of a video, whose key frame is frame 0 or frame 5."""
    result = []
    for _ in range(count):
        meta = dict(
            img_shape=SIZE,
            ori_shape=SIZE,
            batch_input_shape=SIZE,
            pad_shape=SIZE,
            scale_factor=(1.0, 1.0),
        )
        meta.update(frame_id=5, key_frame_id=5 if same else 0)
        item = DetDataSample(metainfo=meta)
        if boxes:
            item.gt_instances = InstanceData(
                bboxes=torch.tensor([[8.0, 8.0, 40.0, 40.0], [50.0, 16.0, 90.0, 60.0]]),
                labels=torch.tensor([0, 1]),
            )
        result.append(item)
    return result


def assert_same(found: list, expected: list, least: int = 1, atol: float = 0.0) -> None:
    """All fields of results are equal, or within ``atol``, of ``least`` instances in all."""
    assert sum(len(other.pred_instances) for other in expected) >= least
    for one, other in zip(found, expected, strict=True):
        for name, value in other.pred_instances.items():
            rtol = 1e-4 if atol else 0.0
            torch.testing.assert_close(one.pred_instances[name], value, rtol=rtol, atol=atol)


def unmatched(some: list, others: list, tolerance: float) -> int:
    """How many detections have no partner of the same label, score and box within a tolerance."""
    count = 0
    for one, other in zip(some, others, strict=True):
        size = other.bboxes.abs().amax(-1).clamp(min=100)
        apart = (one.bboxes[:, None] - other.bboxes).abs().amax(-1) / size
        apart = torch.maximum(apart, (one.scores[:, None] - other.scores).abs())
        apart += (one.labels[:, None] != other.labels).float()
        count += int((apart > tolerance).all(1).sum())
    return count


def segmentor(kind: str = 'pspnet', num_classes: int = CLASSES + 1) -> dict:
    """A narrow PSPNet, DeepLabV3+ or SegFormer with four levels of features."""
    norm = dict(type='BN')
    head = dict(num_classes=num_classes, channels=16, norm_cfg=norm, dropout_ratio=0.1)
    if kind == 'segformer':
        channels = [8, 16, 24, 32]
        body = dict(
            type='MixVisionTransformer',
            embed_dims=8,
            num_layers=[1, 1, 1, 1],
            num_heads=[1, 2, 3, 4],
            sr_ratios=[8, 4, 2, 1],
        )
        head.update(type='SegformerHead', in_channels=channels, in_index=[0, 1, 2, 3])
    else:
        body = dict(
            backbone(),
            type='ResNetV1c',
            dilations=(1, 1, 2, 4),
            strides=(1, 2, 1, 1),
            norm_cfg=norm,
        )
        head.update(in_channels=64, in_index=3)
        own = dict(
            pspnet=dict(type='PSPHead', pool_scales=(1, 2)),
            deeplab=dict(
                type='DepthwiseSeparableASPPHead', dilations=(1, 2), c1_in_channels=8, c1_channels=8
            ),
        )
        head.update(own[kind])
    return dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, size_divisor=1
        ),
        backbone=body,
        decode_head=head,
        test_cfg=dict(mode='whole'),
    )
