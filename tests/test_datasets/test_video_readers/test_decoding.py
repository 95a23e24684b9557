"""Damage that FFmpeg marks, joined recordings, wrong facts in containers, and how much of a file is
read.
"""

import warnings
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from semidff.datasets.video_readers import VideoError, open_any, open_video
from tests.damaged_video import PACKET, lose_packet
from tests.encoded_video import encode, number, picture

LENGTH = 40


def read(path: Path, **options) -> tuple[list, str]:
    """The frames, and what is warned about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        frames = list(open_any(path, **options))
    return frames, '; '.join(str(one.message) for one in caught)


def check_random_access(path: Path, frames: list, length: int) -> None:
    """It gives the same frames as sequential access, and no others."""
    reader, known = open_video(path), {frame.index: frame.image for frame in frames}
    assert len(reader) == length
    for index in np.random.default_rng(0).permutation(length).tolist():
        if index in known:
            assert np.array_equal(reader.frames([index])[0], known[index])
        else:
            with pytest.raises(VideoError, match='damaged'):
                reader.frames([index])


@pytest.mark.parametrize('codec', ['h264 no b', 'h264 closed', 'h264 open', 'h265', 'mpeg2'])
@pytest.mark.parametrize(
    ('frame', 'after'), [(12, 1), (15, 0)]
)  # a part of a key frame, and more of another one
def test_frames_that_a_lost_packet_may_reach_are_left_out(tmp_path, codec, frame, after):
    path = lose_packet(tmp_path / 'lossy.ts', encode(tmp_path / 'a.ts', codec), frame, after)
    frames, said = read(path)
    assert all(number(one.image) == round(25 * one.timestamp) for one in frames)
    assert LENGTH / 4 < len(frames) < LENGTH and 'frames are damaged and left out' in said
    # Key frames are as near to one another as without damage.
    steps = [b.index - a.index for a, b in pairwise(frames)]
    assert max(steps) > 1 and steps == [1 + one.dropped for one in frames[1:]]
    check_random_access(path, frames, frames[-1].index + 1)
    with pytest.raises(VideoError, match='damaged'):
        list(open_any(path, strict=True))
    kept, said = read(path, keep_damaged=True)
    assert len(kept) > len(frames) and 'may be damaged and are used' in said
    assert len(open_video(path, keep_damaged=True).frames([kept[20].index])) == 1


@pytest.mark.parametrize('codec', ['h264 closed', 'mpeg4 b', 'mjpeg'])
def test_an_avi_file_that_ends_between_packets(tmp_path, codec):
    """Frames with B-frames can only be counted."""
    data = encode(tmp_path / 'a.avi', codec).read_bytes()
    with av.open(str(tmp_path / 'a.avi')) as file:
        places = [packet.pos for packet in file.demux(video=0) if packet.size]
    (tmp_path / 'cut.avi').write_bytes(data[: places[30]])
    frames, said = read(tmp_path / 'cut.avi')
    assert 28 <= len(frames) <= 30 and 'its end is missing' in said
    assert open_video(tmp_path / 'cut.avi').damage == 'its end is missing'


def join(path: Path, *parts: Path) -> Path:
    """Join transport streams; continuity counters go on, so that FFmpeg marks no packet."""
    data, counters = bytearray(b''.join(part.read_bytes() for part in parts)), {}
    for at in range(0, len(data), PACKET):
        track = (data[at + 1] & 31) << 8 | data[at + 2]
        if data[at + 3] & 16:
            counters[track] = counters.get(track, -1) + 1 & 15
        data[at + 3] = data[at + 3] & 240 | counters.get(track, 0)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize('codec', ['h264 no b', 'h264 closed', 'h264 open', 'h265', 'mpeg2'])
@pytest.mark.parametrize('start', [0, 10, 36, 39])
def test_joined_recordings_whose_clocks_overlap(tmp_path, codec, start):
    parts = [encode(tmp_path / '0.ts', codec)]
    parts.append(encode(tmp_path / '1.ts', codec, times=range(start, start + LENGTH)))
    path = join(tmp_path / 'joined.ts', *parts)
    frames, said = read(path)
    assert not said and [number(one.image) for one in frames] == [*range(LENGTH)] * 2
    assert [one.timestamp for one in frames] == pytest.approx(np.arange(2 * LENGTH) / 25)
    assert [one.index for one in frames if one.after_gap] == [LENGTH]
    check_random_access(path, frames, 2 * LENGTH)


def test_a_joint_that_is_marked_costs_the_frames_at_it(tmp_path):
    encode(tmp_path / '0.ts', 'h264 no b')
    (tmp_path / 'joined.ts').write_bytes((tmp_path / '0.ts').read_bytes() * 2)
    frames, said = read(tmp_path / 'joined.ts')
    assert len(frames) >= 2 * LENGTH - 4 and 'frames are damaged and left out' in said
    check_random_access(tmp_path / 'joined.ts', frames, 2 * LENGTH)


@pytest.mark.parametrize(
    ('kind', 'seconds', 'is_pause'),
    [
        ('mkv', 3600, True),
        ('mkv', 1_000_000, True),
        ('mp4', 100_000, True),
        ('ts', 3600, True),
        ('ts', 50_000, False),
    ],
)
def test_a_pause_stays_but_one_beyond_mpeg_clocks_is_a_joint(tmp_path, kind, seconds, is_pause):
    times = [*range(20), *range(20 + 25 * seconds, 40 + 25 * seconds)]
    path = encode(tmp_path / f'a.{kind}', 'h264 no b', times=times)
    frames, said = read(path)
    assert not said and [number(one.image) for one in frames] == [*range(LENGTH)]
    steps = np.diff([one.timestamp for one in frames])
    assert steps[19] == pytest.approx(seconds + 0.04 if is_pause else 0.04, abs=2e-3)
    assert frames[20].after_gap is (None if is_pause else True)
    check_random_access(path, frames, LENGTH)


@pytest.mark.parametrize(
    'tag', [b'00:00:01,600000000', b'a long recording..', b'\xff\xfe:00:00.000000000']
)
def test_a_wrong_tag_is_no_damage(tmp_path, tag):
    data = encode(tmp_path / 'a.mkv').read_bytes()
    assert len(tag) == 18 and b'00:00:01.600000000' in data
    (tmp_path / 'a.mkv').write_bytes(data.replace(b'00:00:01.600000000', tag))
    frames, said = read(tmp_path / 'a.mkv')
    assert len(frames) == LENGTH and not said


@pytest.mark.parametrize('sides', [(2**31 - 1, 1), (1, 2**31 - 1)])
def test_a_wrong_aspect_ratio_is_ignored(tmp_path, sides):
    path = encode(tmp_path / 'a.mp4', sample_aspect_ratio=Fraction(4, 3))
    data = path.read_bytes()
    at = data.index(b'pasp') + 4
    path.write_bytes(
        data[:at] + b''.join(side.to_bytes(4, 'big') for side in sides) + data[at + 8 :]
    )
    assert read(path)[0][0].image.shape == (64, 96, 3) and open_video(path).size == (64, 96)


def bytes_read() -> int:
    return int(Path('/proc/self/io').read_text().split()[1])


@pytest.mark.parametrize('container', ['mp4', 'mkv', 'avi', 'ts'])
def test_sequential_access_reads_no_more_than_it_returns(tmp_path, container):
    """Frames of 60 kB, most of which are random bytes behind the image."""
    path = tmp_path / f'a.{container}'
    if container == 'ts':
        generator = np.random.default_rng(0)
        with av.open(str(path), 'w') as file:
            track = file.add_stream('mpeg2video', 25, options=dict(qmin='1', qmax='1', bf='0'))
            track.width, track.height, track.pix_fmt = 320, 240, 'yuv420p'
            for _ in range(150):
                image = generator.integers(0, 255, (240, 320, 3), np.uint8)
                file.mux(track.encode(av.VideoFrame.from_ndarray(image, 'bgr24')))
            file.mux(track.encode(None))
    else:
        jpeg = cv2.imencode('.jpg', picture(7))[1].tobytes() + bytes(60_000)
        with av.open(str(path), 'w') as file:
            track = file.add_stream('mjpeg', 25)
            track.width, track.height, track.pix_fmt = 96, 64, 'yuvj420p'
            track.time_base = Fraction(1, 25)
            for at in range(300):
                packet = av.Packet(jpeg)
                packet.stream, packet.pts, packet.dts = track, at, at
                packet.time_base, packet.is_keyframe = Fraction(1, 25), True
                file.mux(packet)
    before, size = bytes_read(), path.stat().st_size
    assert size > 8e6
    frames = iter(open_any(path))
    for _ in range(5):
        next(frames)
    assert bytes_read() - before < size / 2
