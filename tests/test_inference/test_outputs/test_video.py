"""Annotated videos."""

import cv2
import numpy as np
import pytest
from mmdet.structures import DetDataSample

from semidff.inference.outputs import VideoOutput
from tests.test_utils.test_video_writer import GRAY, frames_in


def sample(path) -> DetDataSample:
    return DetDataSample(metainfo=dict(img_path=str(path)))


def darkened(image: np.ndarray, sample: DetDataSample) -> np.ndarray:
    return image // 2


def test_renders_one_file_per_video(tmp_path):
    image = tmp_path / 'frame.png'
    cv2.imwrite(str(image), GRAY)
    with VideoOutput(tmp_path / 'out', darkened, max_videos=2) as renderer:
        for name, count in (('val/one', 3), ('two', 2), ('three', 2)):
            renderer.start(name)
            for _ in range(count):
                renderer.render(sample(image))
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['two.mp4', 'val_one.mp4']
    assert frames_in(tmp_path / 'out' / 'val_one.mp4') == 3
    drawn = cv2.VideoCapture(str(tmp_path / 'out' / 'two.mp4')).read()[1]
    assert np.abs(drawn.astype(int) - 45).max() < 6


def test_missing_image_is_named(tmp_path):
    renderer = VideoOutput(tmp_path, darkened)
    renderer.start('one')
    with pytest.raises(OSError, match=r'gone\.png'):
        renderer.render(sample(tmp_path / 'gone.png'))


def test_an_error_removes_the_unfinished_file(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoOutput(tmp_path / 'out.mp4', darkened) as output:
        output.start('one')
        output.render(sample('none.png'), GRAY)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
