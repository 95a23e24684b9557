"""The synthetic video of speed tests."""

import numpy as np

from semidff.synthetic.smooth_video import smooth_frames


def test_smooth_frames_pan():
    frames = smooth_frames(4, 40, 60)
    assert [f.shape for f in frames] == [(40, 60, 3)] * 4
    assert np.array_equal(frames[0][1:, 4:], frames[1][:-1, :-4])
    assert np.array_equal(frames[2], smooth_frames(4, 40, 60)[2])
    assert frames[0].std() > 10
    assert np.abs(np.diff(frames[0].astype(int), axis=1)).mean() < 10
