"""The speed benchmark: what it runs and in what order, not how long that takes."""

from collections import Counter

import pytest

from semidff.analysis import benchmark as module
from semidff.analysis.benchmark import benchmark
from semidff.analysis.part_times import batch_of
from semidff.datasets.video_readers import VideoError
from semidff.inference import Acceleration
from tests.damaged_video import write_video
from tests.tiny_video import build, video_detector_cfg


@pytest.fixture
def video(tmp_path):
    return str(write_video(tmp_path / 'in.mp4', 5, size=(96, 64)))


def test_every_method_and_part_under_all_options(video):
    model = build(video_detector_cfg())
    calls, lines, packed = Counter(), [], []
    model.spatial.detector.backbone.register_forward_hook(lambda *_: calls.update(['backbone']))
    model.temporal.flow_network.register_forward_hook(lambda *_: calls.update(['flow']))

    def pack(image):
        packed.append(image)
        return batch_of(image)

    options = [Acceleration(), Acceleration('bf16', channels_last=True)]
    methods = ['propagate', 'copy', 'centered']
    report = benchmark(model, video, pack, methods, options, 3, 2, lines.append)
    assert [run.options for run in report.runs] == ['fp32', 'bf16, channels-last']
    for run in report.runs:
        assert list(run.methods) == ['frame', 'propagate', 'copy', 'centered']
        for times in run.methods.values():
            assert times.network.shape == times.total.shape == (2, 3)
            assert (times.decode > 0).all() and (times.pipeline > 0).all()
            assert times.network.sum() > 0 and (times.to_device > 0).all()
            assert times.detections > 0 and times.memory is None
        assert all(value > 0 for value in run.parts)
    assert report.process_memory > 50
    # 2 options x 3 clips: frame 4, propagate 2, copy 2, centered 2, parts 4; propagated 2 + parts 3 + centered 1 batch;
    # and two random images, on which channels-last maps are compared with contiguous ones
    assert calls == dict(backbone=6 * 14 + 2, flow=6 * 6)
    # each method, and the parts, read the video for themselves, again and again
    assert len(packed) == 6 * 5 * 4
    names = [line.split(': ')[0] for line in lines]
    assert names[:3] == ['warm-up, fp32', 'warm-up, bf16, channels-last', 'clip 1 of 2, fp32']
    assert next(model.parameters()).dtype == model.spatial.detector.backbone.conv1.weight.dtype


def test_a_frame_without_a_network_is_still_decoded(video, monkeypatch):
    """*copy* on non-key frames costs decoding alone."""
    clock = iter(range(10**6))
    monkeypatch.setattr(module.time, 'perf_counter', lambda: float(next(clock)))
    report = benchmark(build(video_detector_cfg()), video, batch_of, ['copy'], key_interval=2)
    times = report.runs[0].methods['copy']
    assert (times.decode == 1000).all() and (times.pipeline == 1000).all()
    assert (times.total >= 3000).all() and (times.to_device >= 0).all()


def test_refuses_what_cannot_be_measured(video, tmp_path):
    model = build(video_detector_cfg())
    with pytest.raises(ValueError, match='no temporal module'):
        benchmark(build(video_detector_cfg(temporal=False)), video, batch_of)
    with pytest.raises(ValueError, match='key_interval=1'):
        benchmark(model, video, batch_of, key_interval=1)
    with pytest.raises(ValueError, match='repeats=0'):
        benchmark(model, video, batch_of, repeats=0)
    with pytest.raises(VideoError, match='no such file'):
        benchmark(model, str(tmp_path / 'gone.mp4'), batch_of)
