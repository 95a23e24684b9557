"""Check of an image detector: where it can be cut, and whether it works as a video detector and can be trained."""

import copy
import logging
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from semidff.models import SemiDFF, VideoDetector
from semidff.models.spatial import SpatialModule, plain_samples
from semidff.models.spatial.head_splits import non_key_settings
from semidff.synthetic.smooth_video import smooth_frames
from semidff.utils.image_detectors import read_detector

from .speed import batch_of

SPLITS = ('ExtractFeatSplit', 'TowerSplit', 'OutputSplit', 'EncoderSplit')
SEMANTIC = [dict(type='FeatureSemantics')], ('temporal', 'task_network')
"""Objectives and trained parts of the semantic step."""


def check_detector(
    name: str, checkpoint: str | None = None, size: tuple[int, int] = (512, 640)
) -> dict[str, dict[str, Any]]:
    """Check a detector at each split point, on two frames of a synthetic video.

    Without a checkpoint, weights are random and all boxes count, whatever their scores.

    Args:
        name: As for :func:`~semidff.utils.image_detectors.read_detector`.
        size: Height and width of the network's input.

    Returns:
        By split point: ``boxes``, their number at l = 1, and ``deviation`` from the detector's own, in pixels or of
        scores; ``untrained``, the weights that the semantic loss should train but gives no gradient. In place of what
        is not supported, ``refused`` or ``semantic_refused`` with the reason.
    """
    init_default_scope('mmdet')
    config = read_detector(name, warn=False).model
    if checkpoint is None:
        _accept_all(config.get('test_cfg') or {})
    whole = VideoDetector(config, checkpoint=checkpoint).eval()
    detector, found = whole.spatial.detector, {}
    if checkpoint is None:
        # Boxes that start as weights (Sparse R-CNN) have negative sides otherwise.
        logging.disable(logging.INFO)  # a line for each weight
        detector.init_weights()
        logging.disable(logging.NOTSET)
    detector.data_preprocessor = whole.data_preprocessor
    frames = [
        whole.data_preprocessor(batch_of(frame), False)['inputs']
        for frame in smooth_frames(2, *size)
    ]
    for split in SPLITS:
        row = found[split] = {}
        reason = 'refused'
        try:
            model = video_detector(detector, split)
            row['deviation'], row['boxes'] = box_deviation(detector, model, torch.cat(frames))
            reason = 'semantic_refused'
            model = video_detector(detector, split, kind=SemiDFF)
            row['untrained'] = weights_without_gradient(model, *frames)
        except (TypeError, ValueError, NotImplementedError) as error:
            row[reason] = str(error)
    return found


def _accept_all(test_cfg: ConfigDict) -> None:
    for section in (test_cfg, *(part for part in test_cfg.values() if isinstance(part, dict))):
        if 'score_thr' in section:
            section['score_thr'] = 0.0


def video_detector(
    detector: nn.Module,
    split: str = SPLITS[0],
    flow_width: float = 1 / 8,
    kind: type[VideoDetector] = VideoDetector,
) -> VideoDetector:
    """Build a video detector of class ``kind`` around a copy of a detector.

    The stride of FlowNetS is 8 if the finest level has stride 8 or less. ``OutputSplit`` has a correction and, of
    two-stage detectors, few proposals.
    """
    spatial = SpatialModule(detector)
    fine = min(spatial.probe_levels()[1]) <= 8
    flow_network = dict(type='FlowNetS', width=flow_width, stride=8 if fine else 16)
    temporal = dict(type='TemporalModule', flow_network=flow_network, init_std=None)
    if split == 'OutputSplit':
        width = spatial.heads.splits.get(split, 0)
        temporal |= dict(correction_width=width, current_width=spatial.heads.current_width)
    model = kind(
        copy.deepcopy(detector),
        temporal,
        split=dict(type=split),
        data_preprocessor=detector.data_preprocessor,
        non_key_test_cfg=non_key_settings(split, detector.test_cfg),
    )
    return model.to(next(detector.parameters()).device).eval()


@torch.no_grad()
def box_deviation(detector: nn.Module, model: VideoDetector, images: Tensor) -> tuple[float, int]:
    """Return the largest difference of boxes and scores at l = 1 from the detector's own, and the number of boxes.

    Frames are normalized, (N, 3, H, W); the difference is infinite if the numbers of boxes differ.
    """
    count, size = len(images), tuple(images.shape[-2:])
    own = detector.predict(images, plain_samples(count, size))
    found = model.predict(images, plain_samples(count, size))
    worst, boxes = 0.0, 0
    for a, b in zip(own, found, strict=True):
        a, b = a.pred_instances, b.pred_instances
        if len(a) != len(b):
            return float('inf'), len(b)
        boxes += len(a)
        for key in ('bboxes', 'scores') if len(a) else ():
            worst = max(worst, (a[key] - b[key]).abs().max().item())
    return worst, boxes


def weights_without_gradient(model: SemiDFF, key: Tensor, current: Tensor) -> list[str]:
    """Run the semantic step's loss once on frames (N, 3, H, W); name the trained weights that get no gradient."""
    model.enter_step(*SEMANTIC)
    samples = plain_samples(len(key), tuple(key.shape[-2:]))
    sum(model.loss(torch.stack((key, current), 1), samples).values()).backward()
    return [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
