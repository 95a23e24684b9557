"""Interval distributions and the placing of pairs in a video."""

from collections import Counter

import numpy as np

from semidff.datasets.intervals import UniformInterval, choose_pair


def rng(seed=0):
    return np.random.default_rng(seed)


def test_pairs_stay_in_the_window_and_keep_the_distribution():
    generator = rng()
    interval = UniformInterval(1, 9)
    pairs = [choose_pair(generator, interval, 0, 16) for _ in range(9000)]
    assert all(0 <= key < current < 16 for key, current in pairs)
    counts = Counter(current - key for key, current in pairs)
    assert max(abs(counts[value] - 1000) for value in range(1, 10)) < 150
    later = [choose_pair(generator, interval, 16, 32) for _ in range(500)]
    assert {current for _, current in later} == set(range(16, 32))
    assert min(key for key, _ in later) < 16


def test_authors_clip_rule():
    generator = rng()
    pairs = [choose_pair(generator, UniformInterval(1, 9), 0, 5, clip=True) for _ in range(4000)]
    # Entry 0 is replaced by frame 1, so the pair (1, 0) takes the share of entries 0 and 1.
    counts = Counter(pairs)
    assert abs(counts[0, 1] / 4000 - 2 / 5) < 0.04
    # NOTES: entry 4 has frame 0 as its key frame in two thirds of the draws.
    of_four = [key for key, current in pairs if current == 4]
    assert abs(of_four.count(0) / len(of_four) - 2 / 3) < 0.06
    assert all(key < current for key, current in pairs)


def test_authors_clip_rule_with_same_frame_pairs():
    """NOTES: in the semantic step, entry 0 gives frame 0 itself, entry 4 frame 0 in 60 %."""
    generator = rng()
    pairs = [choose_pair(generator, UniformInterval(0, 9), 0, 5, clip=True) for _ in range(4000)]
    counts = Counter(pairs)
    assert (0, 1) in counts and abs(counts[0, 0] / 4000 - 1 / 5) < 0.04
    assert abs(counts[0, 1] / 4000 - 1 / 5 * 9 / 10) < 0.04
    of_four = [key for key, current in pairs if current == 4]
    assert abs(of_four.count(0) / len(of_four) - 0.6) < 0.06


def test_videos_shorter_than_the_interval():
    generator = rng()
    assert {choose_pair(generator, UniformInterval(9, 9), 0, 2) for _ in range(20)} == {(0, 1)}
    assert {choose_pair(generator, UniformInterval(9, 9), 0, 5) for _ in range(20)} == {(0, 4)}
    same = {choose_pair(generator, UniformInterval(0, 0), 0, 2) for _ in range(50)}
    assert same == {(0, 0), (1, 1)}
