"""Label maps as files."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData
from PIL import Image

from semidff.datasets.video_readers import Frame
from semidff.inference.outputs import LabelMaps, Result, check_requested
from semidff.utils.error_messages import FileError


def result(index: int, label: int) -> Result:
    labels = PixelData(data=torch.full((1, 4, 6), label))
    frame = Frame(np.zeros((4, 6, 3), np.uint8), index, 0.0)
    return Result(frame, DetDataSample(pred_sem_seg=labels), index + 1)


def write(folder, error=None) -> None:
    with LabelMaps(folder) as output:
        for name in ('street', 'street'):
            output.start(name, None)
            for index, label in enumerate((3, 300)):
                output.add(result(index, label))
        if error is not None:
            raise error


def test_a_folder_for_each_video(tmp_path):
    write(tmp_path)
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == 2
    for folder in folders:
        maps = [np.asarray(Image.open(folder / f'00000{index}.png')) for index in range(2)]
        assert [int(labels.max()) for labels in maps] == [3, 300]


def test_an_error_removes_what_was_written(tmp_path):
    own = tmp_path / 'street' / 'notes.txt'
    own.parent.mkdir()
    own.touch()
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, KeyboardInterrupt())
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == [own]


def test_label_maps_of_a_longer_run_are_removed(tmp_path):
    folder = tmp_path / 'street'
    folder.mkdir()
    for name in ('000000.png', '000007.png', '1000000.png', 'mine.png', '000007_mine.png'):
        (folder / name).touch()
    write(tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert names == {'000000.png', '000001.png', 'mine.png', '000007_mine.png'}


def test_the_folder_of_the_frames_is_refused(tmp_path):
    """The first frame may be ``street/000000.png``, too."""
    frames = tmp_path / 'street'
    frames.mkdir()
    check_requested('pred_sem_seg', [str(frames), None], out_labels=tmp_path / 'labels')
    check_requested('pred_sem_seg', [str(tmp_path / 'street.mp4')], out_labels=tmp_path)
    with pytest.raises(FileError, match='is the folder of an input'):
        check_requested('pred_sem_seg', [str(frames)], out_labels=tmp_path / 'street' / '..')
