"""Times per frame."""

import time

import pytest
import torch

from semidff.inference import FrameTimer


def test_summary_by_hand():
    timer = FrameTimer(warmup=1)
    timer.seconds = {'key': [9.0, 0.1, 0.3], 'non_key': [9.0] + [0.01] * 5}
    assert timer.summary() == pytest.approx({
        'time/key_ms': 200, 'time/key_p50_ms': 200, 'time/key_p99_ms': 298,
        'time/non_key_ms': 10, 'time/non_key_p50_ms': 10, 'time/non_key_p99_ms': 10,
        # three key frames of 200 ms and six others of 10 ms
        'time/mean_ms': 660 / 9, 'fps': 9 / 0.66,
    })  # fmt: skip
    timer = FrameTimer(warmup=0, key_interval=4)  # one key frame and three others
    timer.seconds = {'key': [0.1] * 6, 'non_key': [0.02] * 6}
    summary = timer.summary()
    assert summary['time/mean_ms'] == pytest.approx((100 + 3 * 20) / 4)
    assert summary['fps'] == pytest.approx(4 / 0.16)


def test_short_videos_and_nothing_at_all():
    timer = FrameTimer(warmup=3)
    assert timer.summary() == timer.schedule_summary() == {}
    with timer.measure(torch.device('cpu')) as lap:
        time.sleep(0.02)
    timer.add(True, 9.0)
    timer.add(True, lap.seconds)
    summary = timer.summary()
    assert 20 <= summary['time/key_ms'] < 200
    assert not any('non_key' in key for key in summary)


def test_what_a_schedule_came_to():
    """Ten frames, three key frames of 100 ms on average; others take 20 ms."""
    timer = FrameTimer(warmup=0)
    timer.seconds = {'key': [0.1, 0.13, 0.07], 'non_key': [0.02] * 7}
    assert timer.schedule_summary() == pytest.approx({
        'schedule/interval': 10 / 3, 'schedule/key_share': 0.3,
        'schedule/cost': (0.3 + 0.14) / 10 / 0.1,
    })  # fmt: skip


def test_offline_methods_have_the_time_after_the_last_frame_and_no_kinds():
    timer = FrameTimer(warmup=0)
    timer.seconds = {'key': [0.1, 0.2], 'non_key': [0.0] * 3}
    timer.add_deferred(0.05)
    timer.add_deferred(0.05)  # of another video
    assert timer.summary() == pytest.approx({'time/mean_ms': 400 / 5, 'fps': 5 / 0.4})
    assert 'schedule/cost' not in timer.schedule_summary()
    assert timer.schedule_summary()['schedule/key_share'] == 0.4
