"""Video detectors around image detectors, for the checks of stock detectors."""

import copy

from torch import nn

from semidff.models import VideoDetector
from semidff.models.spatial import SpatialModule
from semidff.models.spatial.head_splits import non_key_settings

SPLITS = ('ExtractFeatSplit', 'TowerSplit', 'OutputSplit', 'EncoderSplit')
SEMANTIC = [dict(type='FeatureSemantics')], ('temporal', 'task_network')
"""Objectives and trained parts of the semantic step."""


def video_detector(
    detector: nn.Module,
    split: str = SPLITS[0],
    flow_width: float = 1 / 8,
    kind: type[VideoDetector] = VideoDetector,
) -> VideoDetector:
    """Build a video detector of class ``kind`` around a copy of a detector.

    The stride of FlowNetS is 8 if the finest level has stride 8 or less. ``OutputSplit`` has a
    correction and, of two-stage detectors, few proposals.
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
