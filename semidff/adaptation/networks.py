"""Split points and temporal modules among which an adaptation chooses."""

import logging
from collections.abc import Iterator
from dataclasses import replace

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from semidff.checkpoints.building import build_detector
from semidff.models.precision import to_channels_last
from semidff.models.spatial import SpatialModule
from semidff.models.spatial.head_family import HeadFamily, head_family
from semidff.models.video_detector import VideoDetector

from .config import model_config
from .folder import AdaptError, Network
from .job import Job

DOWNSAMPLING = 2, 4  # of the frames


def image_detector(name: str, own: Config) -> tuple[nn.Module, HeadFamily]:
    """Build the image detector of :func:`~semidff.adaptation.config.detector_config`, with random
    weights.

    Raises:
        AdaptError: It cannot be adapted.
    """
    init_default_scope('mmdet')
    try:
        detector = build_detector(own.model)
        heads = head_family(detector)
    except (TypeError, ValueError) as error:
        raise AdaptError(f'{name}: {error}') from error
    if heads.prediction != 'pred_instances':
        raise AdaptError(
            f'{name}: predicts label maps; only detectors are adapted. Networks of segmentation '
            'are trained with configs (docs/segmentation.md)'
        )
    return detector, heads


def candidates(job: Job) -> Iterator[Network]:
    """Yield the networks that are possible, in order of accuracy.

    Raises:
        AdaptError: There are none.
    """
    detector, heads = image_detector(job.name, job.own)
    reasons = []
    for split in heads.splits:
        for downsampling in DOWNSAMPLING:
            network = Network(split, downsampling)
            try:
                spatial = SpatialModule(detector, dict(type=split))
                if min(spatial.probe_levels()[1]) >= spatial.split.corrected_from:
                    widths = heads.splits[split], heads.current_width
                    network = replace(network, correction_width=widths[0], current_width=widths[1])
                model = build_network(job, network)
            except (TypeError, ValueError, NotImplementedError) as error:
                reasons.append(str(error))
                break
            strides = tuple(map(float, model.spatial.probe_levels()[1]))
            fine = downsampling == 2 and min(model.temporal.feat_strides) <= 8
            stride = 8 if fine else model.temporal.flow_network.stride
            yield _with_steps(job, replace(network, strides=strides, flow_stride=stride))
    if len(reasons) == len(heads.splits):
        raise AdaptError(f'{job.name}: {reasons[0]}')


def _with_steps(job: Job, network: Network) -> Network:
    """Leave out the semantic step where its loss does not know the heads."""
    model = build_network(job, network, 'SemiDFF')
    try:
        model.set_objectives([dict(type='FeatureSemantics')], ['temporal', 'task_network'])
    except (TypeError, NotImplementedError) as error:
        job.log(f'only the regression loss is possible: {error}')
        return replace(network, steps=('regression',))
    return network


def build_network(job: Job, network: Network, kind: str = 'VideoDetector') -> VideoDetector:
    """Build a video detector with the weights of the detector, on the device."""
    logger = MMLogger.get_current_instance()
    logger.setLevel(logging.WARNING)  # not a line for each loaded checkpoint
    try:
        weights = str(job.folder / 'detector.pth')
        model = MODELS.build(model_config(job.own, weights, network, kind))
    finally:
        logger.setLevel(logging.INFO)
    to_channels_last(model)
    return model.to(job.device).eval()
