"""Times per frame."""

import time

import pytest
import torch

from semidff.inference import FrameTimer, timed


def test_summary_by_hand():
    timer = FrameTimer(warmup=1)
    timer.seconds = {'key': [9.0, 0.1, 0.3], 'non_key': [9.0] + [0.01] * 5}
    assert timer.summary() == pytest.approx({
        'time/key_ms': 200, 'time/non_key_ms': 10,
        # three key frames of 200 ms and six others of 10 ms
        'time/mean_ms': 660 / 9, 'fps': 9 / 0.66,
        'schedule/interval': 3, 'schedule/key_share': 1 / 3, 'schedule/cost': 660 / 9 / 200,
    })  # fmt: skip
    timer = FrameTimer(warmup=0, key_interval=4)  # one key frame and three others
    timer.seconds = {'key': [0.1] * 6, 'non_key': [0.02] * 6}
    summary = timer.summary()
    assert summary['time/mean_ms'] == pytest.approx((100 + 3 * 20) / 4)
    assert summary['fps'] == pytest.approx(4 / 0.16) and 'schedule/interval' not in summary


def test_short_videos_and_nothing_at_all():
    timer = FrameTimer(warmup=3)
    assert timer.summary() == {}
    with timed(torch.device('cpu')) as lap:
        time.sleep(0.02)
    timer.add(True, 9.0)
    timer.add(True, lap.seconds)
    summary = timer.summary()
    assert 20 <= summary['time/key_ms'] < 200
    assert not any('non_key' in key for key in summary)


def test_offline_methods_have_the_time_after_the_last_frame_and_no_kinds():
    timer = FrameTimer(warmup=0)
    timer.seconds = {'key': [0.1, 0.2], 'non_key': [0.0] * 3}
    timer.add_deferred(0.05)
    timer.add_deferred(0.05)  # of another video
    assert timer.summary() == pytest.approx({
        'time/mean_ms': 400 / 5, 'fps': 5 / 0.4, 'schedule/interval': 2.5, 'schedule/key_share': 0.4,
    })  # fmt: skip
