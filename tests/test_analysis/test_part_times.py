"""Part times: the equations' arithmetic, what is called, and what is refused."""

from collections import Counter

import pytest

from semidff.analysis.part_times import PartTimes, measure_parts, speedup_of
from tests.models import tiny_video_detector
from tests.tiny_video import build, frame, video_detector_cfg

PARTS = PartTimes(
    feature_network=90.0, flow_and_scale=12.0, warp=3.0, task_non_key=5.0, task_key=10.0
)


def test_equations_5_and_7():
    assert PARTS.key == 100 and PARTS.non_key == 20
    assert PARTS.ratio == pytest.approx(0.2)
    assert PARTS.bound(10) == pytest.approx(10 / (1 + 9 * 0.2)) == speedup_of(0.2, 10)
    assert PARTS.bound(1) == 1


def test_the_bound_with_time_outside_the_network():
    """Ten frames of 100 + 25 ms over one of 100 + 25 and nine of 20 + 25."""
    assert PARTS.bound(10, overhead=25.0) == pytest.approx(1250 / (125 + 9 * 45))
    assert PARTS.bound(10, overhead=1e9) == pytest.approx(1.0, abs=1e-6)


def test_times_every_part():
    model = build(video_detector_cfg())
    calls = Counter()
    watched = dict(backbone=model.spatial.detector.backbone, flow=model.temporal.flow_network)
    for name, module in watched.items():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    parts = measure_parts(model, [frame(1, i) for i in range(3)], repeats=2)
    assert all(value > 0 for value in parts)
    assert calls == dict(backbone=6, flow=3)  # three pairs of a key frame and another


def test_non_key_frames_have_their_own_test_settings():
    model = tiny_video_detector('faster_rcnn', non_key_test_cfg=dict(rpn=dict(max_per_img=5)))
    regions = []
    head = model.spatial.detector.roi_head.bbox_head
    head.register_forward_pre_hook(lambda _, inputs: regions.append(len(inputs[0])))
    measure_parts(model, [frame(1, 0), frame(1, 1)], repeats=1)
    # two key frames' features and propagated ones, twice
    assert len(regions) == 6 and set(regions[2::3]) == {5} and 5 not in regions[::3]


def test_refuses_what_cannot_be_measured():
    frames = [frame(1, 0), frame(1, 1)]
    with pytest.raises(ValueError, match='no temporal module'):
        measure_parts(build(video_detector_cfg(temporal=False)), frames)
    with pytest.raises(ValueError, match='repeats=0'):
        measure_parts(build(video_detector_cfg()), frames, 0)
    with pytest.raises(ValueError, match='1 frames'):
        measure_parts(build(video_detector_cfg()), frames[:1])
