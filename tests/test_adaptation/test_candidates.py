"""Which split point and which flow network an adaptation chooses, and the model that follows."""

import pytest

from semidff.adaptation.config import detector_config, model_config
from semidff.adaptation.plan import Candidate
from semidff.adaptation.planner import best_candidate


def candidates(**frame_rates):
    """Candidates on a detector of 10 frames per second, by frame rates with half-size and with quarter-size frames."""
    return [
        Candidate(split, 1 / 8, downsampling, fps=fps, speedup=fps / 10)
        for split, rates in frame_rates.items()
        for downsampling, fps in zip((2, 4), rates, strict=True)
    ]


@pytest.mark.parametrize(
    'towers, fps, chosen',
    [
        ((60, 90), None, ('TowerSplit', 1 / 8, 2)),
        ((60, 90), 80, ('TowerSplit', 1 / 8, 4)),
        ((60, 90), 95, ('OutputSplit', 1 / 8, 2)),
        ((60, 90), 105, ('OutputSplit', 1 / 8, 4)),
        ((60, 90), 200, ('OutputSplit', 1 / 8, 4)),  # the fastest
        ((11, 12), None, ('OutputSplit', 1 / 8, 2)),  # hardly faster than the detector
        ((12, 14), None, ('TowerSplit', 1 / 8, 4)),
    ],
)
def test_most_accurate_candidate_that_is_fast_enough(towers, fps, chosen):
    found = candidates(TowerSplit=towers, OutputSplit=(98, 110))
    assert best_candidate(found, fps).choice == chosen


def test_split_points_that_are_impossible_are_not_chosen():
    refused = [Candidate('TowerSplit', 1 / 8, refused='no towers')]
    found = refused + candidates(OutputSplit=(40, 50))
    assert best_candidate(found, None).choice == ('OutputSplit', 1 / 8, 2)


@pytest.mark.parametrize(
    'split, proposals',
    [('ExtractFeatSplit', None), ('OutputSplit', dict(rpn=dict(max_per_img=100)))],
)
def test_few_proposals_where_only_the_second_stage_is_left(split, proposals):
    own = detector_config('faster-rcnn_r50_fpn_1x_coco')
    networks = Candidate(split, 1 / 8)
    config = model_config(own, 'one.pth', networks, 'VideoDetector')
    assert config['non_key_test_cfg'] == proposals
    own.model.test_cfg.rpn.max_per_img = 60
    config = model_config(own, 'one.pth', networks, 'VideoDetector')
    assert config['non_key_test_cfg'] is None


@pytest.mark.parametrize(
    'name, split, settings',
    [
        ('yolox_tiny_8xb8-300e_coco', 'OutputSplit', dict(nms=dict(iou_threshold=0.55))),
        ('yolox_tiny_8xb8-300e_coco', 'TowerSplit', None),
        ('retinanet_r50_fpn_1x_coco', 'OutputSplit', None),
        ('dino-4scale_r50_8xb2-12e_coco', 'OutputSplit', None),
    ],
)
def test_warped_boxes_of_an_object_are_suppressed_sooner(name, split, settings):
    config = model_config(detector_config(name), '', Candidate(split, 1 / 8), 'VideoDetector')
    assert config['non_key_test_cfg'] == settings


def test_a_temporal_module_has_a_scale_field_or_a_correction():
    own = detector_config('retinanet_r50_fpn_1x_coco')
    for width in (0, 64):
        networks = Candidate('OutputSplit', 1 / 8, correction_width=width)
        temporal = model_config(own, '', networks, 'SemiDFF')['temporal']
        assert temporal['with_scale'] == (not width) and temporal['shared_classes']


@pytest.mark.parametrize('downsampling, stride', [(2, 8), (4, 16)])
def test_flow_on_smaller_frames_is_coarser(downsampling, stride):
    own = detector_config('retinanet_r50_fpn_1x_coco')
    networks = Candidate('TowerSplit', 1 / 8, downsampling, flow_stride=8)
    network = model_config(own, '', networks, 'SemiDFF')['temporal']['flow_network']
    assert (network['downsampling'], network['stride']) == (downsampling, stride)
