"""Stock detectors of mmdetection for tests of compatibility, narrow and trained briefly, without downloads."""

import copy
import logging
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.models.detectors import DetectionTransformer, MaskFormer
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from semidff.models.spatial import SpatialModule, plain_samples
from semidff.models.spatial.head_family import head_family, levels, rows
from semidff.points.speed import batch_of
from semidff.synthetic.smooth_video import smooth_frames

Size = tuple[int, int]
CLASS_LAYERS = re.compile(r'_(cls|obj)(\.\d+)*$')
"""Names of the layers of mmdet's heads that predict sigmoid class scores and objectness."""
CANDIDATES = 1000
NARROW = 4
"""Divisor of the channels in a narrow detector."""
QUERIES = 20
"""Number of a narrow transformer's queries."""
LAYERS = 2
"""Number of layers of a narrow transformer's encoder and decoder."""


class StockDetector(NamedTuple):
    """A stock config.

    Attributes:
        config: Name in mmdetection, ``retinanet/retinanet_r50_fpn_1x_coco``, or a config file.
        small: Height and width for tests of correctness; some detectors need larger frames than others.
        iterations: Iterations of the training on two pictures of this size.
    """

    config: str
    small: Size = (128, 160)
    iterations: int = 140

    @property
    def name(self) -> str:
        return self.config.rsplit('/', 1)[-1].removesuffix('.py').removesuffix('_coco')


STOCK = (
    StockDetector('faster_rcnn/faster-rcnn_r50_fpn_1x_coco'),
    StockDetector('faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco'),
    StockDetector('faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco', small=(256, 320)),
    StockDetector('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco'),
    StockDetector('mask_rcnn/mask-rcnn_r50_fpn_1x_coco'),
    StockDetector('cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco'),
    StockDetector('dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco'),
    StockDetector('retinanet/retinanet_r50_fpn_1x_coco'),
    StockDetector('atss/atss_r50_fpn_1x_coco'),
    StockDetector('dyhead/atss_r50_fpn_dyhead_1x_coco'),
    StockDetector('gfl/gfl_r50_fpn_1x_coco'),
    StockDetector('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco'),
    StockDetector('vfnet/vfnet_r50_fpn_1x_coco'),
    StockDetector('tood/tood_r50_fpn_1x_coco'),
    StockDetector('fsaf/fsaf_r50_fpn_1x_coco'),
    StockDetector('free_anchor/freeanchor_r50_fpn_1x_coco'),
    StockDetector('foveabox/fovea_r50_fpn_4xb4-1x_coco'),
    StockDetector('autoassign/autoassign_r50-caffe_fpn_1x_coco'),
    StockDetector('ddod/ddod_r50_fpn_1x_coco', small=(384, 384)),
    StockDetector('reppoints/reppoints-moment_r50_fpn_1x_coco'),
    StockDetector('nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco', (128, 256)),
    StockDetector('yolof/yolof_r50-c5_8xb8-1x_coco', small=(256, 320), iterations=300),
    StockDetector('rtmdet/rtmdet_tiny_8xb32-300e_coco'),
    StockDetector('rtmdet/rtmdet_s_8xb32-300e_coco'),
    StockDetector('yolox/yolox_tiny_8xb8-300e_coco'),
    StockDetector('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco'),
    StockDetector('ssd/ssd300_coco', (300, 300)),
    StockDetector('ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco', (320, 320), 600),
    StockDetector('centernet/centernet_r18_8xb16-crop512-140e_coco'),
    StockDetector('centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco'),
    StockDetector('detr/detr_r50_8xb2-150e_coco'),
    StockDetector('conditional_detr/conditional-detr_r50_8xb2-50e_coco'),
    StockDetector('dab_detr/dab-detr_r50_8xb2-50e_coco'),
    StockDetector('deformable_detr/deformable-detr_r50_16xb2-50e_coco'),
    StockDetector('deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco'),
    StockDetector('dino/dino-4scale_r50_8xb2-12e_coco'),
    StockDetector('ddq/ddq-detr-4scale_r50_8xb2-12e_coco'),
    StockDetector('mask2former/mask2former_r50_8xb2-lsj-50e_coco'),
)


def read_stock(config: str) -> Config:
    """Read a config by its name in mmdetection or from a config file."""
    return Config.fromfile(config) if config.endswith('.py') else get_config(f'mmdet::{config}.py')


def build_stock(config: str, narrow: bool = False, layers: int = LAYERS) -> nn.Module:
    """Build a detector with random weights, always the same ones.

    Args:
        config: Name in mmdetection or a config file.
        narrow: Whether to divide the channels of a ResNet-50 and of what follows it by :data:`NARROW`. Other backbones
            and transformers keep theirs. All boxes count as detections then, but there are fewer of them.
        layers: Layers of a narrow transformer's encoder and decoder.
    """
    model = copy.deepcopy(read_stock(config).model)
    model.backbone.pop('pretrained', None)
    transformer = any(key in model for key in ('encoder', 'panoptic_head'))
    shared = (model.get('roi_head') or {}).get('shared_head')
    for part in (model.backbone, shared or {}):
        part.update(init_cfg=None)
    if narrow:
        _set_limits(model)
    if narrow and transformer:
        _shorten(model, layers)
    if narrow and model.backbone.get('depth') == 50 and not shared:
        model.backbone.update(base_channels=64 // NARROW)
        for part in () if transformer else ('neck', 'rpn_head', 'bbox_head', 'roi_head'):
            _divide_channels(model.get(part))
    # Batch-norm statistics are those of the pictures, not of pre-trained weights that are not there.
    if model.backbone.type == 'ResNet':
        model.backbone.norm_eval = False
    init_default_scope('mmdet')
    torch.manual_seed(0)
    detector = MODELS.build(model)
    logging.disable(logging.INFO)  # a line for each parameter
    detector.init_weights()
    logging.disable(logging.NOTSET)
    head_family(detector)  # gives SSD's head an attribute that its post-processing reads
    return detector.eval()


@torch.no_grad()
def fit_statistics(detector: nn.Module, size: Size, count: int = 1) -> dict[str, Tensor]:
    """Give batch norm the statistics of frames, without which signals vanish; return the frames' raw outputs."""
    spatial = SpatialModule(detector)
    batches = map(batch_of, smooth_frames(count, *size))
    inputs = torch.cat([detector.data_preprocessor(one, False)['inputs'] for one in batches])
    for module in detector.modules():
        if isinstance(module, _BatchNorm):
            module.train().momentum = 1.0
    spatial.raw_outputs(spatial.features(inputs))
    detector.eval()
    return spatial.raw_outputs(spatial.features(inputs))


@torch.no_grad()
def calibrate(detector: nn.Module, size: Size) -> None:
    """Shift the class biases of a single-stage detector with random weights until 1,000 scores pass the threshold.

    A trained detector has about as many. With random weights all or none pass, and the time of post-processing would
    mean nothing. Detectors without a threshold of sigmoid scores stay as they are.

    Args:
        detector: An mmdet detector, changed in place.
        size: Height and width of the frame on which scores are counted.
    """
    head = getattr(detector, 'bbox_head', None)
    threshold = (getattr(detector, 'test_cfg', None) or {}).get('score_thr')
    biases = {
        id(conv.bias): conv.bias
        for name, conv in (head.named_modules() if head else ())
        if isinstance(conv, nn.Conv2d) and CLASS_LAYERS.search(name)
    }
    if not (threshold and biases and getattr(head, 'use_sigmoid_cls', False)):
        return
    raw = fit_statistics(detector, size)
    logits = rows(levels('cls_scores', raw), head.cls_out_channels)
    objectness = levels('objectnesses', raw)
    factor = rows(objectness, 1) if objectness else torch.full_like(logits[:, :1], torch.inf)
    low, high = -20.0, 20.0
    for _ in range(30):
        shift = (low + high) / 2
        scores = (logits + shift).sigmoid() * (factor + shift).sigmoid()
        enough = (scores > threshold).sum() >= CANDIDATES
        low, high = (low, shift) if enough else (shift, high)
    for bias in biases.values():
        bias += high


def random_scores(raw: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return raw outputs with random class logits, since those of random weights are all alike."""
    random = torch.Generator().manual_seed(0)
    return {
        name: (2 * torch.randn(maps.shape, generator=random) - 2).to(maps)
        if re.search('cls|scores', name)
        else maps
        for name, maps in raw.items()
    }


def sorted_rows(found: InstanceData) -> Tensor:
    """Return score, label and box of detections (K, 6), in an order that is not that of equal scores."""
    columns = found.scores[:, None], found.labels[:, None], found.bboxes
    return torch.tensor(sorted(torch.cat(columns, 1).tolist())).view(-1, 6)


def _set_limits(model: ConfigDict) -> None:
    test_cfg, few = model.get('test_cfg') or {}, dict(nms_pre=100, max_per_img=20)
    for section, limits in dict(rpn=few, rcnn=dict(score_thr=0.0, max_per_img=20)).items():
        if test_cfg.get(section):
            test_cfg[section].update(limits)
    train_cfg = model.get('train_cfg') or {}
    if train_cfg.get('rpn_proposal'):
        train_cfg.rpn_proposal.update(few)
    if train_cfg.get('rpn'):  # anchors larger than the small picture are trained, too
        train_cfg.rpn.allowed_border = -1
    if 'score_thr' in test_cfg:
        test_cfg.update(few, score_thr=0.0)


def _shorten(config: ConfigDict, layers: int) -> None:
    """Give a transformer few layers and queries, no dropout, and a neck that fits a narrow backbone."""
    for key, value in config.items():
        if isinstance(value, dict):
            _shorten(value, layers)
        elif key == 'num_layers':
            config[key] = layers
        elif key in ('num_queries', 'num_dn_queries', 'max_per_img', 'max_per_image'):
            config[key] = QUERIES
        elif key == 'feedforward_channels':
            config[key] = 256
        elif key in ('dropout', 'attn_drop', 'ffn_drop'):
            config[key] = 0.0
        elif key == 'in_channels' and isinstance(value, list):
            config[key] = [channels // NARROW for channels in value]


def _divide_channels(config: Any) -> None:
    for part in config if isinstance(config, list) else [config] if config else []:
        for key, value in part.items():
            if isinstance(value, dict | ConfigDict) or (
                isinstance(value, list) and value and isinstance(value[0], dict)
            ):
                _divide_channels(value)
            elif key.endswith('channels'):
                several = isinstance(value, Sequence)
                part[key] = [v // NARROW for v in value] if several else value // NARROW


def pictures(size: Size, device: torch.device | str = 'cpu') -> tuple[Tensor, SampleList]:
    """Two normalized pictures (2, 3, H, W) of noise with two bright objects each, and their data samples."""
    generator = torch.Generator().manual_seed(3)
    images = 0.2 * torch.randn(2, 3, *size, generator=generator)
    labeled = plain_samples(2, size)
    height, width = size
    for index, sample in enumerate(labeled):
        left, low = 0.08 * width * index, 0.06 * height * index
        boxes = torch.tensor(
            [
                [0.08 * width + left, 0.12 * height, 0.45 * width + left, 0.62 * height],
                [0.55 * width, 0.4 * height + low, 0.9 * width, 0.88 * height + low],
            ]
        ).round()
        labels = torch.tensor([index, 2])
        masks = np.zeros((2, *size), np.uint8)
        for mask, box, label in zip(masks, boxes.int().tolist(), labels, strict=True):
            x1, y1, x2, y2 = box
            images[index, label, y1:y2, x1:x2] += 2
            mask[y1:y2, x1:x2] = 1
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=labels, masks=BitmapMasks(masks, *size)
        )
    return images.to(device), [sample.to(device) for sample in labeled]


def shifted(images: Tensor, labeled: SampleList, dx: int, dy: int) -> tuple[Tensor, SampleList]:
    """Return pictures (N, 3, H, W) that have moved by a few pixels, and their objects likewise."""
    moved = copy.deepcopy(labeled)
    for sample in moved:
        objects = sample.gt_instances
        objects.bboxes = objects.bboxes + objects.bboxes.new_tensor([dx, dy, dx, dy])
        if 'masks' in objects:
            masks = np.roll(objects.masks.masks, (dy, dx), (1, 2))
            objects.masks = BitmapMasks(masks, *masks.shape[1:])
    return images.roll((dy, dx), (2, 3)), moved


def motion_of(strides: Sequence[float]) -> int:
    """Return the motion of the checks in pixels: half a cell of the finest level, at least 4.

    The outputs of a detector with large cells hardly change where objects move by an eighth of a cell.
    """
    return max(4, int(min(strides)) // 2)


def overfit(detector: nn.Module, size: Size, iterations: int) -> float:
    """Train a detector on moving :func:`pictures`, in place, and return its highest score on them.

    The boxes of a teacher that has never seen motion may be anything for moving objects, and so may the loss parts on
    boxes.
    """
    images, labeled = pictures(size, next(detector.parameters()).device)
    largest = motion_of(SpatialModule(detector).probe_levels()[1]) + 1
    shifts = torch.Generator().manual_seed(0)
    if not (detector.with_mask or isinstance(detector, MaskFormer)):
        for sample in labeled:
            del sample.gt_instances.masks  # RTMDet would match by masks
    # As mmengine and mmdet's SetEpochInfoHook set it.
    MessageHub.get_current_instance().update_info('epoch', 0)
    for module in detector.modules():
        if hasattr(module, 'epoch'):
            module.epoch = 0
    rate = 2e-4 if isinstance(detector, DetectionTransformer | MaskFormer) else 1e-3
    optimizer = torch.optim.AdamW(detector.parameters(), lr=rate)
    detector.train()
    for _ in range(iterations):
        dx, dy = torch.randint(-largest, largest + 1, (2,), generator=shifts).tolist()
        losses = detector.loss(*shifted(images, labeled, dx, dy))
        optimizer.zero_grad()
        detector.parse_losses(losses)[0].backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10)
        optimizer.step()
    detector.eval()
    with torch.no_grad():
        found = detector.predict(images, plain_samples(2, size))
    scores = (s.pred_instances.scores for s in found if len(s.pred_instances))
    return max((each.max().item() for each in scores), default=0.0)
