"""Video files of many containers and codecs: the same frame by number and in order."""

import warnings
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from semidff.datasets.video_readers import VideoError, VideoFile, VideoWarning, open_video
from semidff.datasets.video_readers.decoding import Decoding
from tests.encoded_video import CODECS, DISPLAY, encode, number, picture

LENGTH = 40
VARIABLE = [time for time in range(80) if time * 7 % 5 not in (1, 3)][:LENGTH]
H26X = ('h264 closed', 'h264 open', 'h264 no b', 'h264 intra refresh', 'h265')
MPEG = ('mpeg4 b', 'mpeg2')
CONTAINERS = {
    'mp4': tuple(CODECS),
    'mov': (*H26X, *MPEG, 'mjpeg'),
    'mkv': tuple(CODECS),
    'webm': ('vp9', 'av1'),
    'ts': (*H26X, *MPEG),
    'mpg': (*H26X, *MPEG),
    'avi': (*H26X[:4], *MPEG, 'vp9', 'av1', 'mjpeg'),
    'flv': (*H26X, 'vp9', 'av1'),
}
CELLS = [
    (container, codec, is_variable, display)
    for container, codecs in CONTAINERS.items()
    for codec in codecs
    for is_variable in (False, True)
    for display in (DISPLAY if container in ('mp4', 'mov', 'mkv') else ('upright',))
]
UNTIMED = ('mpg', 'avi')  # containers that store no variable rate, or not that of all codecs
TURN_BACK = {'upright': lambda i: i, 'rotated': np.rot90, 'mirrored': lambda i: i[:, ::-1]}


def test_the_table_has_all_cells():
    assert len(CELLS) == 232


@pytest.mark.parametrize('codec', [*H26X, *MPEG, 'vp9', 'av1'])
def test_threads_of_the_decoder_change_nothing(tmp_path, codec):
    path = encode(tmp_path / 'a.mp4', codec, LENGTH)
    reader, one = VideoFile(path, strict=True, threads=3), VideoFile(path)
    for found, expected in zip(reader, one, strict=True):
        assert (found.index, found.timestamp) == (expected.index, expected.timestamp)
        assert np.array_equal(found.image, expected.image)
    for wanted in ([7, 21], [3, 39], [0]):
        assert np.array_equal(reader.frames(wanted), one.frames(wanted))


@pytest.mark.parametrize(('container', 'codec', 'is_variable', 'display'), CELLS)
def test_random_access_equals_the_sequential_order(
    tmp_path, container, codec, is_variable, display
):
    times = VARIABLE if is_variable else None
    path = encode(tmp_path / f'a.{container}', codec, LENGTH, times, DISPLAY[display])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        frames = list(VideoFile(path, strict=True))
    reader = open_video(path)
    assert len(reader) == LENGTH and reader.size == frames[0].image.shape[:2]
    assert [frame.index for frame in frames] == list(range(LENGTH))
    assert [number(TURN_BACK[display](frame.image)) for frame in frames] == list(range(LENGTH))
    if container not in UNTIMED:
        stamps = [frame.timestamp * 25 for frame in frames]
        assert np.allclose(stamps, times or range(LENGTH), atol=0.05)
    rng = np.random.default_rng(0)
    for _ in range(8):
        start = int(rng.integers(LENGTH - 10))
        wanted = rng.integers(start, start + 10, 5).tolist()
        for index, image in zip(wanted, reader.frames(wanted), strict=True):
            assert np.array_equal(image, frames[index].image)


@pytest.mark.parametrize('container', ['mp4', 'mkv', 'ts'])
def test_frames_of_a_long_group_are_not_decoded_from_the_beginning(
    tmp_path, container, monkeypatch
):
    reader = open_video(encode(tmp_path / f'a.{container}', length=120))
    reader.frames([0])
    decoded, decode = [], Decoding._decode

    def counted(*arguments):
        return (decoded.append(frame) or frame for frame in decode(*arguments))

    monkeypatch.setattr(Decoding, '_decode', counted)
    assert number(reader.frames([110])[0]) == 110
    assert 0 < len(decoded) <= 12


def test_colors_of_all_matrices_and_ranges(tmp_path):
    """FFmpeg's encoder is given YUV that is computed here, by the formulas of BT.601 and BT.709."""
    color = np.array([200, 40, 90.0])  # RGB
    for matrix, (kr, kb) in {1: (0.2126, 0.0722), 5: (0.299, 0.114), 2: (0.299, 0.114)}.items():
        for full in (False, True):
            y = kr * color[0] + (1 - kr - kb) * color[1] + kb * color[2]
            cb, cr = (color[2] - y) / (2 - 2 * kb), (color[0] - y) / (2 - 2 * kr)
            values = (y, cb + 128, cr + 128) if full else (
                16 + y * 219 / 255, 128 + cb * 224 / 255, 128 + cr * 224 / 255
            )  # fmt: skip
            path = tmp_path / f'{matrix}{full}.mp4'
            with av.open(str(path), 'w') as container:
                stream = container.add_stream('libx264', 25, options={'crf': '5'})
                stream.width, stream.height, stream.pix_fmt = 96, 64, 'yuv420p'
                stream.codec_context.colorspace = matrix
                stream.codec_context.color_range = 2 if full else 1
                frame = av.VideoFrame(96, 64, 'yuv420p')
                for plane, value in zip(frame.planes, values, strict=True):
                    plane.update(bytes([round(value)]) * plane.buffer_size)
                frame.pts, frame.time_base = 0, Fraction(1, 25)
                container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            image = open_video(path).frames([0])[0]
            assert np.abs(image.reshape(-1, 3).mean(0)[::-1] - color).max() <= 3, (matrix, full)


def test_pixels_become_square(tmp_path):
    path = encode(tmp_path / 'a.mp4', sample_aspect_ratio=Fraction(4, 3))
    assert open_video(path).size == (64, 128)
    assert open_video(path).frames([7])[0].shape == (64, 128, 3)
    assert number(next(iter(open_video(path))).image) == 0


def test_odd_sides_stay(tmp_path):
    frames = list(open_video(encode(tmp_path / 'odd.avi', 'mjpeg', 5, size=(95, 63))))
    assert len(frames) == 5 and frames[0].image.shape == (63, 95, 3)


@pytest.mark.parametrize('kind', ['ts', 'mkv'])
def test_a_change_of_size_gives_scaled_frames(tmp_path, kind):
    """The second part of the file is twice as large."""
    if kind == 'ts':
        parts = [encode(tmp_path / f'{n}.ts', 'mpeg2', 12, size=(96 * n, 64 * n)) for n in (1, 2)]
        path = tmp_path / 'two.ts'
        path.write_bytes(parts[0].read_bytes() + parts[1].read_bytes())
    else:
        path = tmp_path / 'two.mkv'
        with av.open(str(path), 'w') as container:
            stream = container.add_stream('mjpeg', 25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, 'yuvj420p'
            stream.time_base = Fraction(1, 25)
            for at in range(24):
                size = (96, 64) if at < 12 else (192, 128)
                packet = av.Packet(cv2.imencode('.jpg', picture(at % 12, size))[1].tobytes())
                packet.stream, packet.pts, packet.dts = stream, at, at
                packet.time_base, packet.is_keyframe = Fraction(1, 25), True
                container.mux(packet)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', VideoWarning)
        frames = list(open_video(path))
    assert len(frames) >= 22 and {frame.image.shape for frame in frames} == {(64, 96, 3)}
    assert [number(frame.image) for frame in frames[-6:]] == list(range(6, 12))
    last = frames[-1]
    assert np.array_equal(open_video(path).frames([last.index])[0], last.image)


def test_a_playlist_does_not_open_another_file(tmp_path):
    encode(tmp_path / 'secret.ts')
    (tmp_path / 'in.mp4').write_text(
        '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n'
    )
    (tmp_path / 'script.mp4').write_text("ffconcat version 1.0\nfile 'secret.ts'\n")
    for name in ('in.mp4', 'script.mp4'):
        with pytest.raises(VideoError, match='not a readable video'):
            open_video(tmp_path / name)


def test_a_transport_stream_that_begins_inside_a_group(tmp_path):
    whole = encode(tmp_path / 'whole.ts', 'mpeg2')
    data = whole.read_bytes()
    path = tmp_path / 'late.ts'
    path.write_bytes(data[188 * (len(data) // 188 // 4) :])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', VideoWarning)
        frames = list(open_video(path))
    numbers = [number(frame.image) for frame in frames]
    assert numbers == list(range(numbers[0], LENGTH)) and numbers[0] > 0
    reader = open_video(path)
    assert len(reader) == len(frames)
    for index in (len(frames) - 1, 0, 5):
        assert np.array_equal(reader.frames([index])[0], frames[index].image)
