"""Cut-off files are noticed in every container that states its length; where none is stated, a warning says so."""

import struct
import warnings

import pytest

from semidff.datasets.video_readers import VideoError, VideoWarning, open_stream
from semidff.datasets.video_readers.container import end_is_missing, sequence_headers
from tests.damaged_video import write_video

STATED = ('mkv', 'webm', 'avi', 'flv', 'mp4')
NOT_STATED = ('ts', 'mpg', 'm2v')
CODECS = {'webm': 'VP80', 'avi': 'MJPG', 'flv': 'FLV1', 'ts': 'MPG2', 'mpg': 'MPG2', 'm2v': 'MPG2'}


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """Writes a video of 30 frames of a container once."""
    folder, made = tmp_path_factory.mktemp('containers'), {}

    def write(kind, size=(96, 64)):
        if (kind, size) not in made:
            path = folder / f'{size[0]}.{kind}'
            made[kind, size] = write_video(path, 30, 25, size, CODECS.get(kind, 'mp4v'))
        return made[kind, size]

    return write


def cut(path, source, share):
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize('kind', STATED)
def test_whole_files(video, kind):
    assert end_is_missing(video(kind)) is False
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(list(open_stream(video(kind), strict=True))) == 30


@pytest.mark.parametrize('kind', STATED)
@pytest.mark.parametrize('share', [0.5, 0.8, 0.9])
def test_cut_off_files(video, tmp_path, kind, share):
    path = cut(tmp_path / f'cut.{kind}', video(kind), share)
    assert end_is_missing(path) is True
    if kind == 'mp4':  # its index was at the end
        with pytest.raises(VideoError, match='not a readable video'):
            open_stream(path)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        count = len(list(open_stream(path)))
    if count == 30:  # only an index at the end is missing
        assert share > 0.8 and not caught
        return
    assert 0 < count < 30
    assert f'cut.{kind}: frame {count} is damaged or missing' in str(caught[0].message)
    with pytest.raises(VideoError, match='damaged or missing'):
        list(open_stream(path, strict=True))


@pytest.mark.parametrize('kind', NOT_STATED)
def test_formats_without_length(video, kind):
    assert end_is_missing(video(kind)) is None
    with pytest.warns(VideoWarning, match='a missing end cannot be noticed; 30 frames are used'):
        assert len(list(open_stream(video(kind), strict=True))) == 30


def test_a_transport_stream_that_ends_in_a_packet(video, tmp_path):
    path = tmp_path / 'cut.ts'
    path.write_bytes(video('ts').read_bytes()[:-100])
    assert end_is_missing(path) is True


@pytest.mark.parametrize('kind', NOT_STATED)
def test_change_of_size_in_a_stream(video, tmp_path, kind):
    path = tmp_path / f'two.{kind}'
    path.write_bytes(video(kind).read_bytes() + video(kind, (64, 48)).read_bytes())
    with pytest.warns(VideoWarning, match='the size of the frames changes at frame 30'):
        list(open_stream(path))
    with (
        pytest.raises(VideoError, match='the size of the frames changes'),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore')
        list(open_stream(path, strict=True))


def box(kind, content=b'', length=None):
    return struct.pack('>I', 8 + len(content) if length is None else length) + kind + content


@pytest.mark.parametrize(
    ('boxes', 'missing'),
    [
        (box(b'ftyp') + box(b'moov') + box(b'mdat', bytes(9)), False),
        (box(b'ftyp') + box(b'moov') + box(b'mdat', bytes(9), 99), True),
        (box(b'ftyp') + box(b'moov') + b'\0\0', True),
        (box(b'ftyp') + box(b'moov') + box(b'mdat', bytes(9), 0), False),
        (box(b'ftyp') + box(b'mdat', struct.pack('>Q', 24) + bytes(8), 1), False),
        (box(b'ftyp') + box(b'mdat', struct.pack('>Q', 25) + bytes(8), 1), True),
        (box(b'ftyp') + box(b'moov') + box(b'moof') + box(b'mdat'), None),
        (box(b'ftyp') + box(b'moov') + box(b'moof') + box(b'mdat') + box(b'mfra'), False),
        (box(b'ftyp') + box(b'moov', b'', 3), None),
        (bytes.fromhex('1a45dfa380') + bytes.fromhex('1853806784') + b'abcd', False),
        (bytes.fromhex('1a45dfa380') + bytes.fromhex('1853806785') + b'abcd', True),
        (bytes.fromhex('1a45dfa380') + bytes.fromhex('1853806701ffffffffffffff') + b'abcd', None),
        (bytes.fromhex('1a45dfa380'), None),
        (b'FLV\1', None),
    ],
)
def test_containers_byte_by_byte(tmp_path, boxes, missing):
    (tmp_path / 'x').write_bytes(boxes)
    assert end_is_missing(tmp_path / 'x') is missing


def test_parameter_sets_of_h264():
    first, second = b'\0\0\0\1\x67\x42\x00\x1e', b'\0\0\0\1\x67\x42\x00\x28'
    frame = b'\0\0\1\x65abc'
    assert sequence_headers([first + frame, frame, first + frame], 'h264') == []
    assert sequence_headers([first + frame, frame, second + frame, frame], 'H264') == [2]
    assert sequence_headers([first + frame, frame, second + frame, frame], 'VP80') == []
