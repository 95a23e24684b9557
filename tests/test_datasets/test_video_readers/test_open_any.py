"""Any source gives the same numbered frames, in order and by number: files, images, arrays and
addresses.
"""

import math
import warnings
from contextlib import closing

import cv2
import numpy as np
import pytest

from semidff.datasets.video_readers import (
    ArrayStream,
    VideoError,
    VideoWarning,
    natural_key,
    open_any,
    open_video,
)
from semidff.datasets.video_readers.sources import videos_of
from semidff.utils.video_writer import VideoWriter
from tests.damaged_video import cut, picture, trim, wipe, write_video
from tests.test_datasets.test_video_readers.test_decoding import check_random_access


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp('video') / 'street.mp4')


def number(image) -> int:
    """Which frame of the test videos a picture is."""
    return round(float(image[..., 0].mean()) / 8)


def write_images(folder, length=30, suffix='.png'):
    folder.mkdir()
    for index in range(length):
        cv2.imwrite(str(folder / f'{index}{suffix}'), picture(index))
    return folder


def write_source(kind, folder):
    """A source of 30 frames with 10 a second."""
    pictures = [picture(index) for index in range(30)]
    if kind in ('list', 'array', 'iterator'):
        return dict(list=pictures, array=np.stack(pictures), iterator=iter(pictures))[kind]
    if kind in ('file', 'address'):
        path = write_video(folder / 'street.mp4')
        return path if kind == 'file' else f'file://{path}'
    (write_images(folder / 'street') / '.hidden.png').write_bytes(b'x')
    (folder / 'street' / 'notes.txt').write_text('x')
    return folder / 'street' / dict(folder='', pattern='%d.png', glob='*.png')[kind]


@pytest.mark.parametrize(
    'kind', ['file', 'address', 'folder', 'pattern', 'glob', 'list', 'array', 'iterator']
)
def test_any_source_gives_the_same_numbered_frames(tmp_path, kind):
    source = write_source(kind, tmp_path)
    stream = open_any(source, fps=10)
    assert stream.live == (kind in ('address', 'iterator'))
    assert stream.length == (None if stream.live else 30)
    assert kind == 'address' or stream.fps == 10
    with warnings.catch_warnings(record=True) as caught:
        frames = list(stream)
    assert len(caught) == (kind == 'address'), 'a live stream ends with a warning'
    assert [number(frame.image) for frame in frames] == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    assert np.allclose([frame.timestamp for frame in frames], np.arange(30) / 10)
    assert all(f.image.shape == (48, 64, 3) and f.image.dtype == np.uint8 for f in frames)
    if kind in ('file', 'address', 'folder', 'pattern', 'glob'):
        assert stream.name == 'street'
    if kind in ('file', 'folder', 'pattern', 'glob'):
        check_random_access(source, frames, 30)
        wanted = [28, 11, 12, 12, 3]
        assert [number(image) for image in open_video(source).frames(wanted)] == wanted


@pytest.mark.parametrize(('start', 'length'), [(0, 14), (5, 20), (17, 10), (13.4, 11), (17, 1)])
@pytest.mark.parametrize('codec', ['mp4v', 'MPG2'])  # without and with B-frames
def test_a_file_that_was_trimmed_without_decoding(tmp_path, codec, start, length):
    """An edit list shows a part of it; frames from the key frame of the codec on precede it."""
    whole = write_video(tmp_path / 'whole.mp4', codec=codec)
    path = trim(tmp_path / 'trimmed.mp4', whole, start, length)
    start = math.ceil(start)
    stream, reader = open_any(path), open_video(path)
    assert (stream.fps, stream.length, len(reader)) == (10, length, length)
    frames = list(stream)
    assert [number(frame.image) for frame in frames] == list(range(start, start + length))
    assert np.allclose([frame.timestamp for frame in frames], np.arange(length) / 10)
    order = [length - 1, 0, length // 2, max(length - 3, 0)]
    for index, image in zip(order, reader.frames(order), strict=True):
        assert number(image) == start + index


def test_damage_in_the_middle_leaves_out_the_frames_up_to_the_next_key_frame(tmp_path, video):
    # the stream's own key frames, every 12, are intact behind it
    path = wipe(tmp_path / 'damaged.mp4', video, 0.3, 0.5)
    with pytest.warns(VideoWarning, match=r'damaged\.mp4: (\d+) frames are damaged') as caught:
        frames = list(open_any(path))
    assert [number(frame.image) for frame in frames] == [frame.index for frame in frames]
    indices = [frame.index for frame in frames]
    gap = next(i for i in range(30) if i not in indices)
    assert 4 <= gap < 12 and indices == [*range(gap), *range(indices[gap], 30)]
    assert f'{30 - len(frames)} frames are damaged' in str(caught[0].message)
    assert f'the first of them is frame {gap}' in str(caught[0].message)
    with pytest.raises(VideoError, match=f'frame {gap}'):
        list(open_any(path, strict=True))
    check_random_access(path, frames, 30)


def test_what_cannot_be_opened_names_itself(tmp_path, video):
    (tmp_path / 'zero.mp4').touch()
    (tmp_path / 'text.mp4').write_text('not a video' * 100)
    (tmp_path / 'empty').mkdir()
    cv2.imwrite(str(tmp_path / 'single.png'), picture(0))
    cut(tmp_path / 'cut.mp4', video, 0.5)  # its index was at the end
    for name, reason in {
        'zero.mp4': 'not a readable video',
        'text.mp4': 'not a readable video',
        'missing.mp4': 'no such file',
        'empty': 'holds no images',
        'single.png': 'single image',
        'cut.mp4': 'truncated',
    }.items():
        with pytest.raises(VideoError, match=reason) as caught:
            open_any(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)


def test_nothing_but_damage(tmp_path, video):
    path = wipe(tmp_path / 'nothing.mp4', video, 0.0, 1.0)
    with pytest.raises(VideoError, match='not a single frame'):
        list(open_any(path))


def test_folder_without_its_corrupt_images(tmp_path):
    folder = write_images(tmp_path / 'street', 12, '.jpg')
    broken = {
        3: folder.joinpath('3.jpg').read_bytes()[:400],
        4: b'',
        5: b'\xff\xd8 nonsense \xff\xd9',
    }
    for index, data in broken.items():
        (folder / f'{index}.jpg').write_bytes(data)
        with pytest.raises(VideoError, match='truncated|corrupt') as caught:
            open_video(folder).frames([0, index])
        assert caught.value.path == str(folder / f'{index}.jpg')
    with pytest.warns(VideoWarning, match=r'3\.jpg: .*truncated.*frame 3 is left out'):
        frames = list(open_any(folder, fps=5))
    rest = [0, 1, 2, *range(6, 12)]
    assert [frame.index for frame in frames] == rest
    assert [number(frame.image) for frame in frames] == rest
    assert [frame.timestamp for frame in frames] == [index / 5 for index in rest]
    assert [frame.dropped for frame in frames] == [0, 0, 0, 3, *[0] * 5]
    assert not any(frame.after_gap for frame in frames)
    with pytest.warns(VideoWarning):
        assert list(open_any(folder, fps=1))[3].after_gap  # 3 s
    assert frames[3].path == str(folder / '6.jpg')
    with pytest.raises(VideoError, match=r'3\.jpg'):
        list(open_any(folder, strict=True))


def test_folder_with_two_sizes(tmp_path):
    folder = write_images(tmp_path / 'frames', 5)
    cv2.imwrite(str(folder / '3.png'), picture(3, (32, 32)))
    with pytest.raises(VideoError, match=r'3\.png: is 32x32, other frames are 64x48'):
        open_video(folder).frames([0, 3])


def test_natural_key():
    names = ['a10', 'a9', 'b1', 'a', '10', '9', 'a9b2', 'a9b10']
    expected = ['9', '10', 'a', 'a9', 'a9b2', 'a9b10', 'a10', 'b1']
    assert sorted(names, key=natural_key) == expected


def test_images_that_a_glob_or_a_pattern_names(tmp_path):
    for index in (8, 9, 10, 11):
        cv2.imwrite(str(tmp_path / f'{index:02d}.png'), picture(index))
    (tmp_path / 'x9.png').hardlink_to(tmp_path / '09.png')
    for pattern, numbers in (('%02d.png', [8, 9, 10, 11]), ('1%d.png', [10, 11]), ('*8.png', [8])):
        for source in (tmp_path / pattern, videos_of(str(tmp_path / pattern))[0]):
            assert [number(frame.image) for frame in open_any(source)] == numbers
    with pytest.raises(VideoError, match='no such file'):
        videos_of(tmp_path / '%03d.png')


def test_a_glob_of_videos_is_several_and_advice_helps(tmp_path):
    folder = tmp_path / 'street [1]'
    folder.mkdir()
    with pytest.raises(VideoError) as caught:
        open_any(folder)
    assert '*' not in str(caught.value)
    for name in ('10.MP4', '9.MP4'):
        write_video(tmp_path / 'a.mp4', 5).rename(folder / name)
    with pytest.raises(VideoError, match='holds no images; for its videos, give') as caught:
        open_any(folder)
    advice = str(caught.value).split("'")[1]
    assert videos_of(advice) == [str(folder / '9.MP4'), str(folder / '10.MP4')]


def test_folder_of_nothing_but_corrupt_images(tmp_path):
    (tmp_path / '0.jpg').write_bytes(b'x')
    with pytest.warns(VideoWarning), pytest.raises(VideoError, match='none of its 1 images'):
        list(open_any(tmp_path))


def test_arrays_of_other_kinds_become_bgr():
    color = picture(9)
    gray = color[..., 2]
    rgba = np.dstack([color, np.full(color.shape[:2], 7, np.uint8)])
    stream = ArrayStream([color, gray, gray[..., None], rgba, color[:, ::-1]], fps=4)
    frames = list(stream)
    assert np.array_equal(frames[0].image, color) and frames[0].image is not color
    for frame in frames[1:3]:
        assert np.array_equal(frame.image, np.repeat(gray[..., None], 3, axis=2))
    assert np.array_equal(frames[3].image, color)
    assert np.array_equal(frames[4].image, color[:, ::-1])
    assert frames[4].image.flags.c_contiguous
    assert [frame.timestamp for frame in frames] == [0, 0.25, 0.5, 0.75, 1]


def test_a_camera_that_is_not_there_and_a_password(capfd):
    with pytest.raises(VideoError, match='camera 987: cannot be opened'):
        open_any(987)
    for address in (
        'me:secret@nowhere/stream',
        'me:with@secret@nowhere/stream',
        'nowhere/stream?secret',
    ):
        with pytest.raises(VideoError) as caught:
            open_any('file:' + f'//{address}')
        assert '//nowhere/stream' in str(caught.value) and 'secret' not in str(caught.value)
    assert 'secret' not in capfd.readouterr().err


def test_a_number_is_a_camera_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VideoError, match='camera 987: cannot be opened'):
        open_any('987')
    write_video(tmp_path / '987.mp4', 5).rename(tmp_path / '987')
    assert len(list(open_any('987'))) == 5


def test_a_relative_name_with_a_colon(tmp_path, monkeypatch):
    """FFmpeg takes what precedes the colon for a protocol; cameras name files by the time."""
    write_video(tmp_path / 'whole.mp4', 5).rename(tmp_path / '10:30.mp4')
    monkeypatch.chdir(tmp_path)
    with closing(open_any('10:30.mp4')) as stream:
        assert len(list(stream)) == 5
    assert len(open_video('10:30.mp4')) == 5
    with VideoWriter('11:30.mp4', fps=10) as writer:
        writer.write(picture(0))
    assert len(list(open_any('11:30.mp4'))) == 1
