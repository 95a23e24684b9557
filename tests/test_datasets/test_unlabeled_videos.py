"""Pairs from unlabeled videos: determinism, bounded decoding, damaged videos."""

import logging
import pickle
from collections import Counter
from multiprocessing import get_context

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from semidff.datasets import PackFramePair, SampleStream, StreamSampler, UnlabeledVideoDataset
from semidff.datasets.video_readers import VideoFile, open_video
from tests.damaged_video import wipe

LENGTHS = {'long.mp4': 96, 'short.mp4': 40, 'tiny.mp4': 2}


def write_video(path, length, shade):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (64, 48))
    for index in range(length):
        image = np.full((48, 64, 3), shade, np.uint8)
        image[..., 0] = 2 * index
        writer.write(image)
    writer.release()
    return path


@pytest.fixture
def listed(tmp_path):
    for shade, (name, length) in enumerate(LENGTHS.items()):
        write_video(tmp_path / name, length, 60 * shade + 40)
    (tmp_path / 'list.txt').write_text('\n'.join(LENGTHS))
    return tmp_path / 'list.txt'


def dataset(listed, **options):
    options = {'window': 16, 'pairs_per_window': 4, **options}
    return UnlabeledVideoDataset(listed, **options)


def identity(item):
    return (*item['img_path'], *(image.tobytes() for image in item['img']))


def test_item_holds_the_pair_as_lists(listed):
    item = dataset(listed)[5]
    assert set(item) == {
        'img', 'img_shape', 'ori_shape', 'img_path', 'frame_id', 'video_name', 'video_length',
    }  # fmt: skip
    assert all(isinstance(value, list) and len(value) == 2 for value in item.values())
    key, current = item['frame_id']
    assert 1 <= current - key <= 9 and item['video_name'] == ['long.mp4'] * 2
    assert item['img_path'][1] == f'{listed.parent}/long.mp4#{current:06d}'
    for number, image in zip(item['frame_id'], item['img'], strict=True):
        assert image.shape == (48, 64, 3) and abs(image[..., 0].mean() - 2 * number) < 4
        assert abs(image[..., 1].mean() - 40) < 4


def test_one_pass_visits_every_video_by_its_length(listed):
    data = dataset(listed)
    # 96 // 16, 40 // 16 and at least one window.
    assert len(data) == (6 + 2 + 1) * 4 and data.num_windows == 9
    counts = Counter(data[index]['video_name'][0] for index in range(len(data)))
    assert counts == {'long.mp4': 24, 'short.mp4': 8, 'tiny.mp4': 4}
    shuffled = [data.stream_item(7, position) for position in range(len(data))]
    assert Counter(item['video_name'][0] for item in shuffled) == counts
    frames = {item['frame_id'][1] for item in shuffled if item['video_name'][0] == 'long.mp4'}
    assert {frame // 16 for frame in frames} == set(range(6))
    for index in (-1, len(data)):
        with pytest.raises(IndexError):
            data[index]


@pytest.mark.parametrize('options', [{'cache_bytes': 0}, {'cache_bytes': 10**6}])
def test_items_do_not_depend_on_the_cache(listed, options):
    expected = [identity(dataset(listed).stream_item(3, p)) for p in range(40)]
    data = dataset(listed, **options)
    order = np.random.default_rng(0).permutation(40)
    assert all(identity(data.stream_item(3, int(p))) == expected[p] for p in order)


def test_a_transform_in_place_does_not_reach_the_cache(listed):
    def spoil(results):
        results['img'][0][:] = 0
        return results

    data = dataset(listed, pipeline=[spoil])
    spoiled = [data[index] for index in (0, 1, 2, 3)]
    data.pipeline.transforms.clear()
    assert all(identity(data[index]) == identity(dataset(listed)[index]) for index in range(4))
    assert all((item['img'][0] == 0).all() for item in spoiled)


def test_a_window_is_decoded_once_for_all_of_its_pairs(listed, monkeypatch):
    """Otherwise every pair decodes from the key frame of its group of pictures on."""
    decoded = []
    frames = VideoFile.frames
    monkeypatch.setattr(VideoFile, 'frames', lambda *args: decoded.append(args[1]) or frames(*args))
    data = dataset(listed)
    for position in range(len(data)):
        data.stream_item(0, position)
    assert len(decoded) == data.num_windows
    assert all(max(numbers) - min(numbers) < 20 + 9 for numbers in decoded)


def test_same_samples_for_any_number_of_workers(listed):
    def read(workers):
        stream = SampleStream(dataset=dataset(listed, pipeline=[identity]))
        loader = DataLoader(
            stream,
            batch_size=4,
            sampler=StreamSampler(stream, seed=5),
            num_workers=workers,
            collate_fn=list,
        )
        batches = iter(loader)
        return [sample for _ in range(6) for sample in next(batches)]

    assert read(0) == read(1) == read(2)


def test_video_that_fails_later_is_replaced_named_once_and_counted(listed, log):
    wipe(listed.parent / 'long.mp4', listed.parent / 'long.mp4')
    data = dataset(listed)
    items = [data.stream_item(4, position) for position in range(len(data))]
    assert list(data.failures) == [str(listed.parent / 'long.mp4')]
    assert sum(data.failures.values()) >= 2
    messages = [r.getMessage() for r in log.records if r.levelno == logging.WARNING]
    assert len(messages) == 1 and 'long.mp4' in messages[0] and '1 of 3 videos' in messages[0]
    late = [i for i in items if i['video_name'][0] == 'long.mp4' and i['frame_id'][1] >= 80]
    assert len(items) == 36 and not late
    again = dataset(listed, cache_bytes=0)
    for position in (35, 3, 17, 16, 0):
        assert again.stream_item(4, position)['img_path'] == items[position]['img_path']


def test_listed_frames_are_the_current_frames(listed):
    lines = ['long.mp4 1 0 96', 'long.mp4 1 4 96', 'tiny.mp4 1 1 2', 'long.mp4 1 95 96']
    frames = listed.parent / 'frames.txt'
    frames.write_text('\n'.join(lines))
    options = dict(lists='frames', pairs_per_window=1, interleave=1)
    data = dataset(frames, interval={'type': 'UniformInterval', 'low': 0}, **options)
    wanted = Counter([('long.mp4', 0), ('long.mp4', 4), ('tiny.mp4', 1), ('long.mp4', 95)])
    assert len(data) == 4
    distances = Counter()
    for epoch in range(100):
        items = [data.stream_item(0, 4 * epoch + position) for position in range(4)]
        assert Counter((i['video_name'][1], i['frame_id'][1]) for i in items) == wanted
        distances.update(
            i['frame_id'][1] - i['frame_id'][0] for i in items if i['frame_id'][1] == 95
        )
    assert set(distances) == set(range(10))
    # The authors' regression step has frame 1 in place of frame 0.
    moving = dataset(frames, **options)
    first = [moving.stream_item(0, position)['frame_id'] for position in range(4)]
    assert [0, 1] in first and not any(key == current for key, current in first)
    assert moving[0]['frame_id'] == [0, 1] and moving[2]['frame_id'][1] == 95


def test_few_frames_of_a_window_recur_in_all_passes_and_steps(listed):
    used = {}
    for low in (0, 1):
        interval = dict(type='UniformInterval', low=low, high=9)
        data = dataset(listed, window=20, frames_per_window=4, interval=interval)
        items = [data.stream_item(0, position) for position in range(40 * len(data))]
        pairs = {(item['video_name'][0], *item['frame_id']) for item in items}
        distances = {current - key for _, key, current in pairs}
        assert distances <= set(range(10)) and (0 in distances) == (low == 0)
        used[low] = {(name, frame) for name, *frames in pairs for frame in frames}
    assert used[0] == used[1]
    assert Counter(name for name, _ in used[0]) == {'long.mp4': 16, 'short.mp4': 8, 'tiny.mp4': 2}


def test_triplets_are_equally_spaced(listed):
    data = dataset(listed, triplets=True)
    triplets = [data[index]['frame_id'] for index in range(len(data))]
    assert all(middle - key == current - middle for key, middle, current in triplets)
    assert {current - key for key, _, current in triplets} == {0, 2, 4, 6, 8}
    packed, item = dataset(listed, triplets=True, pipeline=[PackFramePair()])[0], data[0]
    for frame, image in zip(packed['inputs'], item['img'], strict=True):
        assert np.array_equal(frame.permute(1, 2, 0), image)
    sample = packed['data_samples']
    assert [sample.key_frame_id, sample.frame_id] == item['frame_id'][::2]


def test_few_videos_are_open(listed, monkeypatch):
    opened, closed, readers = [], [], []

    def opener(path, **options):
        reader = open_video(path)
        opened.append(path)
        readers.append(reader)
        monkeypatch.setattr(reader, 'close', lambda: closed.append(path))
        return reader

    monkeypatch.setattr('semidff.datasets.unlabeled_videos.open_video', opener)
    monkeypatch.setattr('semidff.datasets.unlabeled_videos._MAX_OPEN', 1)
    data = dataset(listed, cache_bytes=0)
    for index in (0, 1, 24, 0):
        data[index]
    assert [path[-8:] for path in opened] == ['long.mp4', 'hort.mp4', 'long.mp4']
    assert closed == opened[:2]
    assert readers[2].index is readers[0].index


def _put(data, queue):
    queue.put(identity(data[7]))


def test_readers_survive_fork_and_pickling(listed):
    data = dataset(listed, cache_bytes=0)
    expected = identity(data[7])
    context = get_context('fork')
    queue = context.Queue()
    child = context.Process(target=_put, args=(data, queue))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(timeout=60)
    assert child.exitcode == 0
    assert identity(pickle.loads(pickle.dumps(data))[7]) == expected
