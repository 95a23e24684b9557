"""Several videos in one batch: each has the results that it has alone."""

import numpy as np
import pytest
import torch

from semidff.apis import VideoInferencer, detect_together
from semidff.datasets.video_readers import FrameStream, VideoError
from tests.tiny.videos import frame, write_project


@pytest.fixture(scope='module')
def inferencer(tmp_path_factory):
    folder = tmp_path_factory.mktemp('together')
    write_project(folder, (3, 2))
    files = str(folder / 'config.py'), folder / 'two.pth'
    return VideoInferencer(*files, 'cpu', key_interval=4, show_progress=False)


def arrays(video: int, length: int) -> list[np.ndarray]:
    return [frame(video, index) for index in range(length)]


def test_each_video_as_it_is_alone(inferencer):
    """Of different lengths, one of them of another size."""
    videos = [arrays(0, 9), [image[:32, :64] for image in arrays(1, 6)], arrays(2, 5)]
    found: list[list] = [[], [], []]
    for sample in detect_together(inferencer, videos):
        found[sample.video_id].append(sample)
    for video, results in zip(videos, found, strict=True):
        alone = list(inferencer(video))
        assert [result.frame_id for result in results] == list(range(len(video)))
        for one, other in zip(results, alone, strict=True):
            assert one.is_key_frame == other.is_key_frame and one.timestamp == other.timestamp
            a, b = one.pred_instances, other.pred_instances
            assert len(a) == len(b) > 0
            assert torch.allclose(a.bboxes, b.bboxes, atol=1e-3)
            assert torch.allclose(a.scores, b.scores, atol=1e-5)


def test_frames_of_all_videos_are_one_batch(inferencer):
    sizes, temporal = [], inferencer.model.temporal
    hook = temporal.register_forward_hook(lambda m, i, o: sizes.append(len(i[0])))
    list(detect_together(inferencer, [arrays(video, 3) for video in range(3)]))
    hook.remove()
    assert sizes == [3, 3]


def test_frames_are_processed_on_request(inferencer):
    results = detect_together(inferencer, [arrays(0, 9), arrays(1, 9)], max_frames=5)
    first = [next(results) for _ in range(4)]
    expected = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [(sample.frame_id, sample.video_id) for sample in first] == expected
    assert len(list(results)) == 6


class Silent(FrameStream):
    """A camera that was lost."""

    name, live, length = 'north', True, None

    def __iter__(self):
        yield

    def ready(self, seconds=None):
        return False


def test_a_camera_without_frames_does_not_stop_the_others(inferencer):
    results = detect_together(inferencer, [Silent(), arrays(1, 9)])
    assert [next(results).frame_id for _ in range(9)] == list(range(9))
    results.close()


def test_a_missing_video_is_an_error_before_anything_runs(inferencer, tmp_path):
    with pytest.raises(VideoError, match='nowhere'):
        detect_together(inferencer, [arrays(0, 3), str(tmp_path / 'nowhere.mp4')])


def test_videos_that_fail_do_not_stop_the_others(inferencer, tmp_path):
    def broken():
        yield from arrays(0, 2)
        raise ValueError('the cable')

    (damaged := tmp_path / 'b.mp4').write_bytes(b'a recording that is not complete')
    found = []
    with pytest.raises(VideoError, match=r'2 of 3 videos failed(.|\n)*b\.mp4(.|\n)*the cable'):
        for sample in detect_together(inferencer, [str(damaged), broken(), arrays(1, 9)]):
            found.append((sample.video_id, sample.frame_id))
    assert sorted(found) == [(1, 0), (1, 1), *((2, number) for number in range(9))]
