"""Annotated videos."""

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmdet.structures import DetDataSample
from PIL import Image

from semidff.inference.outputs import VideoOutput, check_requested
from semidff.utils.error_messages import FileError
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


def test_a_linked_video_is_not_overwritten(tmp_path):
    for name in ('links', 'data'):
        (tmp_path / name).mkdir()
    (tmp_path / 'data' / 'street.mp4').touch()
    (tmp_path / 'links' / 'street.mp4').symlink_to(tmp_path / 'data' / 'street.mp4')
    video = str(tmp_path / 'links' / 'street.mp4')
    for folder in ('links', 'data'):
        with pytest.raises(FileError, match='is the folder of an input'):
            check_requested('pred_instances', [video], out_video=tmp_path / folder)
    check_requested('pred_instances', [video], out_video=tmp_path / 'new')


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


def test_frames_are_drawn_on_as_the_pipeline_loads_them(tmp_path):
    """An image with an EXIF orientation is turned upright by the pipeline, so boxes are those of the upright image."""
    path = tmp_path / 'turned.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    Image.new('RGB', (64, 32), 'red').save(path, exif=exif)
    loaded = LoadImageFromFile()(dict(img_path=str(path)))['img']
    assert loaded.shape == (64, 32, 3)
    shapes = []

    def draw(image, _):
        shapes.append(image.shape)
        return image

    with VideoOutput(tmp_path / 'out.mp4', draw) as output:
        output.start('video')
        output.render(sample(path))
    assert shapes == [loaded.shape]
