"""Streaming accuracy: which result a frame is judged with."""

import numpy as np
import pytest
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from semidff.datasets.video_readers import Frame
from semidff.inference import Point, Stages
from semidff.points.live import at_arrival, stream_clip
from tests.tiny.videos import batch, build, frame, video_detector_cfg


def output(index, time, rate=10, start=100.0):
    sample = DetDataSample(metainfo=dict(frame_id=index))
    sample.pred_instances = InstanceData(bboxes=np.zeros((1, 4)))
    return Frame(None, index, index / rate, arrival=start + index / rate), start + time, sample


@pytest.mark.parametrize(
    ('outputs', 'expected'),
    [
        ([(0, 0.01), (1, 0.11), (2, 0.21), (3, 0.31)], [None, 0, 1, 2]),  # faster than the camera
        ([(0, 0.25), (2, 0.5)], [None, None, None, 0, 0, 2]),
        ([(1, 0.15)], [None, None, 1]),  # the first frame was dropped
    ],
)
def test_the_last_result_that_was_there(outputs, expected):
    found = at_arrival([output(*one) for one in outputs], len(expected), rate=10)
    assert [one.get('frame_id') for one in found] == expected
    assert [len(one.pred_instances) for one in found] == [int(n is not None) for n in expected]


@pytest.mark.parametrize('bounded', [False, True])
def test_frames_come_at_their_times(bounded):
    model = build(video_detector_cfg())
    stages = Stages(model, Point('track', 5))
    images = [frame(0, index) for index in range(20)]
    pack = lambda given: {key: one[0] for key, one in batch(0, 0).items()}  # noqa: E731
    streamed, delays = stream_clip(stages, pack, images, 40, bounded)
    assert len(streamed) == 20
    results = [one for one in streamed if len(one.pred_instances)]
    assert len({one.frame_id for one in results}) <= len(delays) <= 20
    assert all(one.frame_id < n for n, one in enumerate(streamed) if 'frame_id' in one)
    assert min(delays) > 0
