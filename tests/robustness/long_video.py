"""Run one VideoInferencer over damaged videos for long; check the number of results and the memory.

    python tests/robustness/long_video.py [--frames 100000] [--minutes 15] [--method propagate]

The first half of the frames is one video in which a packet of every 1,000 is damaged and the decoder conceals it:
every frame has a result. The second half is videos of 1,000 packets whose last packet cannot be decoded: each has 999
results and a warning. All detections are written as json, which is counted in the end. After the time limit the current
video is completed; figures are those of the frames that were processed.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from semidff.apis import VideoInferencer  # noqa: E402
from semidff.datasets.video_readers import VideoWarning, open_stream  # noqa: E402
from tests.tiny_video import (  # noqa: E402
    SIZE,
    build,
    frame,
    test_settings,
    video_detector_cfg,
    write_videos,
)

PERIOD = 1000
PAGE = os.sysconf('SC_PAGE_SIZE')


def packets(path: Path) -> list[np.ndarray]:
    """Encode ``PERIOD`` frames and return their packets; a key packet is followed by 11 that depend on it."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25, SIZE)
    for index in range(PERIOD):
        writer.write(frame(0, index))
    writer.release()
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    reader.set(cv2.CAP_PROP_FORMAT, -1)
    found = []
    while (packet := reader.read())[0]:
        found.append(packet[1].copy())
    return found


def write(path: Path, encoded: list[np.ndarray], repeats: int) -> None:
    settings = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
    code = cv2.VideoWriter_fourcc(*'mp4v')
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25, SIZE, settings)
    for number in range(repeats * len(encoded)):
        writer.set(cv2.VIDEOWRITER_PROP_PTS, number)
        writer.write(encoded[number % len(encoded)])
    writer.release()


def write_data(folder: Path, frames: int) -> list[Path]:
    """Write the videos."""
    whole = packets(folder / 'whole.mp4')
    concealed, broken = list(whole), list(whole)
    concealed[PERIOD // 2] = damaged = whole[PERIOD // 2].copy()
    tail = damaged.reshape(-1)[-damaged.size // 2 :]
    tail ^= np.random.default_rng(0).integers(1, 256, tail.size, dtype=np.uint8)
    broken[-1] = np.zeros_like(whole[-1])
    half = frames // PERIOD // 2
    write(folder / 'concealed.mkv', concealed, half)
    write(folder / 'broken.mkv', broken, 1)
    for name in ('concealed.mkv', 'broken.mkv'):
        write(folder / f'intact_{name}', whole, 1)
    pairs = zip(
        *(islice_frames(folder / n) for n in ('concealed.mkv', 'intact_concealed.mkv')), strict=True
    )
    changed = sum(not np.array_equal(one, other) for one, other in pairs)
    print(f'each damaged packet changes {changed} of {PERIOD} frames')
    assert changed
    return [folder / 'concealed.mkv', *[folder / 'broken.mkv'] * half]


def islice_frames(path: Path) -> Iterator[np.ndarray]:
    stream = open_stream(path)
    for _, one in zip(range(PERIOD), stream, strict=False):
        yield one.image


def make_inferencer(folder: Path, method: str, key_interval: int) -> VideoInferencer:
    config = Config(test_settings(write_videos(folder, (1,)), folder / 'work'))
    config.dump(folder / 'config.py')
    state = build(video_detector_cfg(), seed=3).state_dict()
    torch.save(dict(state_dict=state), folder / 'two.pth')
    return VideoInferencer(
        folder / 'config.py', folder / 'two.pth', 'cpu', method, key_interval, show_progress=False
    )


def resident() -> float:
    """Return the resident memory in MB."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * PAGE / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--frames', type=int, default=100_000)
    parser.add_argument('--minutes', type=float, default=15)
    parser.add_argument('--method', default='propagate')
    parser.add_argument('--key-interval', type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    temporary = tempfile.TemporaryDirectory(prefix='long_video_')
    folder = Path(temporary.name)
    videos = write_data(folder, args.frames)
    half = args.frames // PERIOD // 2
    inferencer = make_inferencer(folder, args.method, args.key_interval)
    start, total, keys, samples = time.monotonic(), 0, 0, []
    expected, problems = 0, []
    for number, path in enumerate(videos):
        limit = half * PERIOD if number == 0 else PERIOD - 1
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            count, own_keys = 0, 0
            for sample in inferencer(path, out_json=folder / 'boxes.json'):
                if sample.frame_id != count:
                    problems.append(f'{path.name}: frame {sample.frame_id} after {count - 1}')
                count, own_keys = count + 1, own_keys + sample.is_key_frame
                if (total + count) % PERIOD == 0:
                    samples.append((total + count, resident()))
                    if (total + count) % (2 * PERIOD) == 0:
                        spent = time.monotonic() - start
                        print(
                            f'{total + count} frames, {samples[-1][1]:.1f} MB, {spent:.0f} s',
                            flush=True,
                        )
                # half of the time is for either kind of damage
                if (
                    number == 0
                    and time.monotonic() - start > 30 * args.minutes
                    and count % PERIOD == 0
                ):
                    limit = count
                    break
            del sample
        print(f'{path.name}: {count} results, {resident():.1f} MB', flush=True)
        said = [w for w in caught if issubclass(w.category, VideoWarning)]
        with open(folder / 'boxes.json') as file:  # an image in each line
            written = sum('"frame_id"' in line for line in file)
        if count != limit or written != count:
            problems.append(f'{path.name}: {count} results, {written} in json, expected {limit}')
        if own_keys != -(-count // args.key_interval):
            problems.append(f'{path.name}: {own_keys} key frames of {count}')
        if len(said) != (number > 0):
            problems.append(f'{path.name}: {len(said)} warnings')
        total, keys, expected = total + count, keys + own_keys, expected + limit
        if time.monotonic() - start > 60 * args.minutes:
            break
    report(samples, total, keys, expected, number, problems)


def report(
    samples: list[tuple[int, float]],
    total: int,
    keys: int,
    expected: int,
    videos: int,
    problems: list[str],
) -> None:
    frames, memory = np.array(samples[len(samples) // 5 :]).T
    slope, _ = np.polyfit(frames, memory, 1)
    print(
        f'{total} results of {expected} expected, {keys} key frames; {videos} videos with an undecodable end'
    )
    print(
        f'memory: {memory[0]:.1f} MB at frame {frames[0]:.0f}, {memory[-1]:.1f} MB at frame {frames[-1]:.0f}, '
        f'largest {memory.max():.1f} MB; slope {1e5 * slope:+.2f} MB per 100,000 frames'
    )
    print(problems or 'no problems')
    sys.exit(bool(problems))


if __name__ == '__main__':
    main()
