"""Times per frame."""

import time

import pytest
import torch

from semidff.inference import FrameTimer

CPU = torch.device('cpu')


def test_measures_the_block():
    timer = FrameTimer(warmup=0)
    with timer.measure(CPU) as lap:
        time.sleep(0.02)
    timer.add(True, lap.seconds)
    assert 20 <= timer.summary()['time/key_ms'] < 200


def test_summary_by_hand():
    timer = FrameTimer(warmup=1)
    timer.seconds = {'key': [9.0, 0.1, 0.3], 'non_key': [9.0] + [0.01] * 5}
    summary = timer.summary()
    assert summary['time/key_ms'] == pytest.approx(200)
    assert summary['time/key_p50_ms'] == pytest.approx(200)
    assert summary['time/key_p99_ms'] == pytest.approx(298)
    assert summary['time/non_key_ms'] == pytest.approx(10)
    # three key frames of 200 ms and six others of 10 ms
    assert summary['time/mean_ms'] == pytest.approx(660 / 9)
    assert summary['fps'] == pytest.approx(9 / 0.66)


def test_short_videos_and_nothing_at_all():
    timer = FrameTimer(warmup=3)
    assert timer.summary() == {}
    timer.seconds['key'] = [0.4, 0.2]
    summary = timer.summary()
    assert summary['time/key_ms'] == pytest.approx(200)
    assert not any('non_key' in key for key in summary)


def test_what_a_schedule_came_to():
    """Ten frames, three key frames of 100 ms on average; others take 20 ms."""
    timer = FrameTimer(warmup=0)
    for seconds in (0.1, 0.13, 0.07):
        timer.add(True, seconds)
    for _ in range(7):
        timer.add(False, 0.02)
    found = timer.schedule_summary()
    assert found == pytest.approx(
        {
            'schedule/interval': 10 / 3,
            'schedule/key_share': 0.3,
            'schedule/cost': (0.3 + 0.14) / 10 / 0.1,
        }
    )
    assert FrameTimer().schedule_summary() == {}


def test_offline_methods_have_the_time_after_the_last_frame_and_no_kinds():
    timer = FrameTimer(warmup=0)
    for is_key, seconds in [(True, 0.1), (False, 0.0), (False, 0.0), (True, 0.2), (False, 0.0)]:
        timer.add(is_key, seconds)
    timer.add_deferred(0.05)
    timer.add_deferred(0.05)  # of another video
    assert timer.summary() == pytest.approx({'time/mean_ms': 400 / 5, 'fps': 5 / 0.4})
    assert 'schedule/cost' not in timer.schedule_summary()
    assert timer.schedule_summary()['schedule/key_share'] == 0.4
