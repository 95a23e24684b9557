"""Stock detectors of mmdetection, narrow, with what the contract expects of them."""

import copy
import logging
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
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
"""Divisor of the channels and of the classes in a narrow detector."""
CLASSES = 80 // NARROW
QUERIES = 20
"""Number of a narrow transformer's queries."""
LAYERS = 2
"""Number of layers of a narrow transformer's encoder and decoder."""


class StockDetector(NamedTuple):
    """A stock config, and what the contract expects of it when it is narrow.

    Attributes:
        config: Name in mmdetection, ``retinanet/retinanet_r50_fpn_1x_coco``, or a config file.
        losses: Parts of the semantic loss; '' if only the regression loss applies.
        towers: Channels of the maps after the towers, () where ``TowerSplit`` is refused.
        outputs: Channels of the maps after the dense head, () where ``OutputSplit`` is refused.
        encoder: Whether there is an encoder to cut behind.
        fixed: Whether the post-processing in tensors of fixed shape is known.
        suite: Whether the normal test suite checks it.
        small: Height and width for tests of correctness; some detectors need larger frames.
        iterations: Iterations of the training on two pictures of this size.
    """

    config: str
    losses: str = ''
    towers: Sequence[int] = ()
    outputs: Sequence[int] = ()
    encoder: bool = False
    fixed: bool = True
    suite: bool = False
    small: Size = (128, 160)
    iterations: int = 140

    @property
    def name(self) -> str:
        return self.config.rsplit('/', 1)[-1].removesuffix('.py').removesuffix('_coco')

    @property
    def splits(self) -> dict[str, Sequence[int]]:
        """Split points, with the channels of their maps, () if not checked."""
        maps = dict(TowerSplit=self.towers, OutputSplit=self.outputs)
        found = dict(ExtractFeatSplit=()) | {name: maps[name] for name in maps if maps[name]}
        return found | (dict(EncoderSplit=()) if self.encoder else {})


_BOXES, _QUALITY = 'cls box', 'cls box quality'
_ROIS = 'rpn_cls rpn_box roi_cls roi_box'
_STAGES = 'rpn_cls rpn_box ' + ' '.join(f'roi_cls_{i} roi_box_{i}' for i in range(3))
_MASKS = 'rpn_cls rpn_box ' + ' '.join(f'roi_cls_{i} roi_box_{i} roi_mask_{i}' for i in range(3))
_TOWERS = (128,) * 5
_POINT, _ANCHORS = (CLASSES + 4,) * 5, (9 * (CLASSES + 4),) * 5
_POINT_QUALITY = (CLASSES + 5,) * 5
_RPN = (3 * 5,) * 5 + (64,) * 4

_row = StockDetector
_two_stage = partial(_row, outputs=_RPN)
_dense = partial(_row, losses=_BOXES, suite=True)
_rated = partial(_row, losses=_QUALITY, outputs=_POINT_QUALITY)
_detr = partial(_row, losses=_BOXES, encoder=True, suite=True)
_masked = partial(_row, encoder=True, fixed=False, suite=True)
_selecting = partial(_detr, losses=f'enc_cls enc_box {_BOXES}')
_wide, _square = dict(small=(256, 320)), dict(small=(384, 384))
STOCK = (
    _two_stage('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', _ROIS),
    _row('faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco', _ROIS, (), (75, 512)),
    _row('faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco', _ROIS, (), (75, 1024), **_wide),
    _two_stage('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco', _STAGES),
    _two_stage('mask_rcnn/mask-rcnn_r50_fpn_1x_coco', _ROIS + ' roi_mask', fixed=False, suite=True),
    _two_stage('cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco', _MASKS, fixed=False, suite=True),
    _two_stage('dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco', _ROIS),
    _dense('retinanet/retinanet_r50_fpn_1x_coco', towers=_TOWERS, outputs=_ANCHORS),
    _rated('atss/atss_r50_fpn_1x_coco', towers=_TOWERS, suite=True),
    _rated('dyhead/atss_r50_fpn_dyhead_1x_coco'),
    _dense('gfl/gfl_r50_fpn_1x_coco', towers=_TOWERS, outputs=(CLASSES + 4 * 17,) * 5),
    _rated('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco', towers=_TOWERS, suite=True),
    _dense('vfnet/vfnet_r50_fpn_1x_coco', towers=_TOWERS, outputs=_POINT),
    _dense('tood/tood_r50_fpn_1x_coco', outputs=_POINT),
    _dense('fsaf/fsaf_r50_fpn_1x_coco', towers=_TOWERS, outputs=_POINT),
    _row('free_anchor/freeanchor_r50_fpn_1x_coco', _BOXES, _TOWERS, _ANCHORS),
    _row('foveabox/fovea_r50_fpn_4xb4-1x_coco', _BOXES, _TOWERS, _POINT),
    _row('autoassign/autoassign_r50-caffe_fpn_1x_coco', _BOXES, _TOWERS, _POINT_QUALITY),
    _rated('ddod/ddod_r50_fpn_1x_coco', towers=_TOWERS, **_square),
    _dense('reppoints/reppoints-moment_r50_fpn_1x_coco', towers=_TOWERS, outputs=_POINT),
    _row(
        'nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco', _BOXES, _TOWERS, _ANCHORS, small=(128, 256)
    ),
    _dense(
        'yolof/yolof_r50-c5_8xb8-1x_coco', towers=(256,), outputs=(120,), iterations=300, **_wide
    ),
    _dense('rtmdet/rtmdet_tiny_8xb32-300e_coco', towers=(96 * 2,) * 3, outputs=_POINT[:3]),
    _row('rtmdet/rtmdet_s_8xb32-300e_coco', _BOXES, (128 * 2,) * 3, _POINT[:3]),
    _row('yolox/yolox_tiny_8xb8-300e_coco', _QUALITY, (192,) * 3, _POINT_QUALITY[:3], suite=True),
    _row(
        'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco',
        _QUALITY,
        (),
        (75,) * 3,
        fixed=False,
        suite=True,
    ),
    _row('ssd/ssd300_coco', _BOXES, (), [n * 25 for n in (4, 6, 6, 6, 4, 4)], small=(300, 300)),
    _dense(
        'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco',
        outputs=(6 * 25,) * 6,
        small=(320, 320),
        iterations=600,
    ),
    _dense('centernet/centernet_r18_8xb16-crop512-140e_coco', outputs=_POINT[:1], fixed=False),
    _row(
        'centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco', _BOXES, (), _POINT[:1], fixed=False
    ),
    _detr('detr/detr_r50_8xb2-150e_coco'),
    _detr('conditional_detr/conditional-detr_r50_8xb2-50e_coco'),
    _detr('dab_detr/dab-detr_r50_8xb2-50e_coco'),
    _detr('deformable_detr/deformable-detr_r50_16xb2-50e_coco'),
    _selecting('deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco'),
    _selecting('dino/dino-4scale_r50_8xb2-12e_coco'),
    _masked('ddq/ddq-detr-4scale_r50_8xb2-12e_coco'),
    _masked('maskformer/maskformer_r50_ms-16xb1-75e_coco'),
    _masked('mask2former/mask2former_r50_8xb2-lsj-50e_coco'),
)


def read_stock(config: str) -> Config:
    """Read a config by its name in mmdetection or from a config file."""
    return Config.fromfile(config) if config.endswith('.py') else get_config(f'mmdet::{config}.py')


def build_stock(config: str, narrow: bool = False, layers: int = LAYERS) -> nn.Module:
    """Return a copy of a detector with random weights, always the same ones.

    Args:
        config: Name in mmdetection or a config file.
        narrow: Whether to divide the classes, and the channels of a ResNet-50 and of what follows
            it, by :data:`NARROW`. Other backbones and transformers keep their channels. All boxes
            count as detections then, but there are fewer of them.
        layers: Layers of a narrow transformer's encoder and decoder.
    """
    return copy.deepcopy(_built(config, narrow, layers))


@lru_cache(maxsize=8)
def _built(config: str, narrow: bool, layers: int) -> nn.Module:
    model = copy.deepcopy(read_stock(config).model)
    model.backbone.pop('pretrained', None)
    transformer = any(key in model for key in ('encoder', 'panoptic_head'))
    shared = (model.get('roi_head') or {}).get('shared_head')
    for part in (model.backbone, shared or {}):
        part.update(init_cfg=None)
    if narrow:
        _set_limits(model)
        for part in _parts(model):
            if part.get('num_classes') == 80:
                part.num_classes = CLASSES
        if 'panoptic_fusion_head' in model:  # of MaskFormer, which predicts panoptic segmentation
            model.test_cfg.update(instance_on=True, panoptic_on=False)
    if narrow and transformer:
        _shorten(model, layers)
    if narrow and model.backbone.get('depth') == 50 and not shared:
        model.backbone.update(base_channels=64 // NARROW)
        for part in () if transformer else ('neck', 'rpn_head', 'bbox_head', 'roi_head'):
            _divide_channels(model.get(part))
    # Batch-norm statistics are those of the pictures, not of pre-trained weights that are not
    # there.
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
    """Give batch norm the statistics of frames, or signals vanish; return the raw outputs."""
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
    """Shift a dense head's class biases until 1,000 scores pass the threshold.

    A trained detector has about as many. With random weights all or none pass, and the time of
    post-processing would mean nothing. Detectors without a threshold of sigmoid scores stay as they
    are.

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
    """Return score, label and box of detections (K, 6), in an order of their own."""
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
    """Give a transformer few layers and queries, no dropout, and a narrow neck."""
    _set(
        config,
        num_layers=layers,
        feedforward_channels=256,
        dropout=0.0,
        attn_drop=0.0,
        ffn_drop=0.0,
    )
    names = 'num_queries', 'num_dn_queries', 'max_per_img', 'max_per_image'
    _set(config, **dict.fromkeys(names, QUERIES))
    for part in _parts(config):
        if isinstance(part.get('in_channels'), list):
            part.in_channels = [channels // NARROW for channels in part.in_channels]


def _divide_channels(config: Any) -> None:
    for part in _parts(config):
        for key, value in part.items():
            if key.endswith('channels'):
                several = isinstance(value, Sequence)
                part[key] = [v // NARROW for v in value] if several else value // NARROW


def _set(config: ConfigDict, **values: float) -> None:
    for part in _parts(config):
        part.update({key: value for key, value in values.items() if key in part})


def _parts(config: Any) -> Iterator[ConfigDict]:
    """Yield a config and all configs in it."""
    if isinstance(config, dict):
        yield config
    inner = config.values() if isinstance(config, dict) else config
    for value in inner if isinstance(config, dict | list | tuple) else ():
        yield from _parts(value)


def pictures(size: Size, device: torch.device | str = 'cpu') -> tuple[Tensor, SampleList]:
    """Two pictures (2, 3, H, W) of noise with two bright objects each, and their samples."""
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

    The outputs of a detector with large cells hardly change where objects move by an eighth of a
    cell.
    """
    return max(4, int(min(strides)) // 2)


def overfit(detector: nn.Module, size: Size, iterations: int) -> float:
    """Train a detector on moving :func:`pictures`, in place, and return its highest score on them.

    The boxes of a teacher that has never seen motion may be anything for moving objects, and so may
    the loss parts on boxes.
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
