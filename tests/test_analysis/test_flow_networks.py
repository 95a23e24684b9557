"""Flow networks compared at a detector: what is measured, and which one is recommended."""

import pytest

from semidff.analysis.flow_networks import (
    Candidate,
    compare_flow_networks,
    comparison,
    comparison_text,
    recommended,
)
from semidff.analysis.part_times import PartTimes
from tests import models
from tests.tiny_video import build, frame, video_detector_cfg


def candidate(flow: float, **config) -> Candidate:
    times = PartTimes(
        feature_network=90.0, flow_and_scale=flow, warp=1.0, task_non_key=2.0, task_key=10.0
    )
    return Candidate(dict(type='FlowNetS', **config), 10**9, times)


def test_the_most_expensive_within_the_limit_is_recommended():
    small, fitting, large = candidate(3.0), candidate(7.0, width=0.5), candidate(7.1)
    assert fitting.times.ratio == pytest.approx(0.1)
    assert recommended([small, large, fitting]) is fitting
    assert recommended([large]) is None
    text = comparison_text([small, fitting, large], [10])
    assert "r <= 0.1: model.temporal.flow_network=dict(type='FlowNetS', width=0.5)" in text
    assert '0.101' in text and '5.26' in text and '5.24' in text
    assert 'No flow network' in comparison_text([large], [10])


def test_every_flow_network_is_measured_with_the_levels_of_the_model():
    model = build(models.video_config('retinanet'))
    before = model.temporal
    configs = dict(type='FlowNetS', width=1 / 4), dict(type='FlowNetLight', stride=32)
    found = compare_flow_networks(model, [frame(1, i) for i in range(2)], 1, configs)
    assert [one.flow_network for one in found] == list(configs)
    assert all(time > 0 for one in found for time in one.times)
    assert found[0].flops > 4 * found[1].flops > 0
    # Only what depends on the flow network differs.
    assert len({(t.feature_network, t.task_key, t.task_non_key) for *_, t in found}) == 1
    assert model.temporal is before
    figures = comparison(found, [5])[0]
    assert figures['speedups'][5] == pytest.approx(5 / (1 + 4 * figures['ratio']))


def test_a_model_without_temporal_module_is_refused():
    with pytest.raises(ValueError, match='no temporal module'):
        compare_flow_networks(build(video_detector_cfg(temporal=False)), [frame(1, 0), frame(1, 1)])
