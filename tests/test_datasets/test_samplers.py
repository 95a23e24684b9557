"""The stream of samples is a function of (seed, counter); videos shared among processes."""

import random
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset

from semidff.datasets.samplers import SampleStream, StreamSampler, VideoSampler


@DATASETS.register_module()
class _Numbers(BaseDataset):
    """``length`` items (name, index, random numbers); some may be filtered out by the pipeline."""

    METAINFO = {'classes': ('thing',)}

    def __init__(self, name, length, drop=(), **kwargs):
        self.name, self.length, self.drop = name, length, drop
        super().__init__(**kwargs)

    def load_data_list(self):
        return [{'index': index} for index in range(self.length)]

    def prepare_data(self, idx):
        noise = (random.random(), float(np.random.rand()), float(torch.rand(1)))
        return self.name, idx, noise

    def __getitem__(self, idx):
        self.full_init()
        return None if idx in self.drop else self.prepare_data(idx)


def numbers(name='a', length=10, **kwargs):
    return {'type': '_Numbers', 'name': name, 'length': length, **kwargs}


def take(sampler, count):
    return list(islice(iter(sampler), count))


def test_ratio_is_exact_in_every_block_and_the_order_is_shuffled():
    stream = SampleStream([numbers('vid', 30), numbers('det', 7)], ratio=(2, 1))
    names = [stream[3, counter][0] for counter in range(90)]
    blocks = [tuple(names[start : start + 3]) for start in range(0, 90, 3)]
    assert all(sorted(block) == ['det', 'vid', 'vid'] for block in blocks)
    assert len(set(blocks)) == 3
    assert len(stream) == 37


def test_every_pass_is_a_new_permutation():
    stream = SampleStream([numbers('vid', 12), numbers('det', 5)], ratio=(2, 1))
    seen = {'vid': [], 'det': []}
    for counter in range(90):
        name, index, _ = stream[0, counter]
        seen[name].append(index)
    for name, length in (('vid', 12), ('det', 5)):
        passes = [seen[name][i * length : (i + 1) * length] for i in range(60 // 12)]
        assert all(sorted(one) == list(range(length)) for one in passes)
        assert len({tuple(one) for one in passes}) == len(passes)
    one, other = ([stream[seed, c][1] for c in range(30)] for seed in (0, 1))
    assert one != other


def test_classes_in_another_order_are_refused():
    """The labels of the datasets would mean different classes."""
    one, other = (
        numbers(metainfo=dict(classes=names)) for names in (('cat', 'dog'), ('dog', 'cat'))
    )
    with pytest.raises(
        ValueError, match=r"different classes.*\('cat', 'dog'\) and \('dog', 'cat'\)"
    ):
        SampleStream([one, other])
    without = DATASETS.build(numbers())
    without._metainfo = {}
    assert SampleStream([one, without, one]).metainfo['classes'] == ('cat', 'dog')


def test_a_sample_is_a_function_of_seed_and_counter():
    stream = SampleStream(dataset=numbers())
    first = [stream[9, counter] for counter in range(25)]
    for counter in np.random.default_rng(0).permutation(25):
        random.seed(int(counter))
        assert stream[9, int(counter)] == first[counter]
    noise = [sample[2] for sample in first]
    assert len(set(noise)) == 25
    assert stream[10, 0][2] != first[0][2]


def test_random_numbers_of_the_process_stay_undisturbed():
    stream = SampleStream(dataset=numbers())
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = (random.random(), np.random.rand(), torch.rand(1).item())
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    stream[0, 0]
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


def test_a_dataset_may_define_its_own_order():
    class Ordered(_Numbers):
        def stream_item(self, seed, position):
            return ('own', seed, position)

    stream = SampleStream([numbers('vid', 4), Ordered('own', 4)])
    own = [sample for c in range(12) if (sample := stream[5, c])[0] == 'own']
    assert own == [('own', 5, position) for position in range(6)]


def test_filtered_samples_are_replaced_deterministically(monkeypatch):
    stream = SampleStream(dataset=numbers(length=10, drop=(1, 4, 7)))
    first = [stream[0, counter] for counter in range(40)]
    assert {index for _, index, _ in first} <= set(range(10)) - {1, 4, 7}
    assert first == [stream[0, counter] for counter in range(40)]
    monkeypatch.setattr('semidff.datasets.samplers._SUBSTITUTES', 4)
    nothing = SampleStream(dataset=numbers(length=3, drop=(0, 1, 2)))
    with pytest.raises(RuntimeError, match='_Numbers.*None for 5 samples'):
        nothing[0, 0]


def test_sampler_goes_on_from_start():
    stream = SampleStream(dataset=numbers())
    whole = take(StreamSampler(stream, seed=4), 50)
    assert whole == [(4, counter) for counter in range(50)]
    assert take(StreamSampler(stream, seed=4, start=20), 30) == whole[20:]
    sampler = StreamSampler(stream, seed=4)
    sampler.skip(35)
    assert sampler.start == 35 and take(sampler, 15) == whole[35:]
    assert take(sampler, 15) == whole[35:]


def test_ranks_share_a_global_batch(monkeypatch):
    stream = SampleStream(dataset=numbers())
    alone = take(StreamSampler(stream, seed=1), 48)

    def of_rank(rank, start):
        monkeypatch.setattr('semidff.datasets.samplers.get_dist_info', lambda: (rank, 2))
        sampler = StreamSampler(stream, seed=1, start=start)
        assert len(sampler) == 5
        return take(sampler, 12)

    for start in (0, 12):
        ranks = [of_rank(rank, start) for rank in (0, 1)]
        for batch in range(0, 12, 4):
            union = Counter(ranks[0][batch : batch + 4] + ranks[1][batch : batch + 4])
            place = 2 * (start + batch)
            assert union == Counter(alone[place : place + 8])


class Frames:
    """A flat dataset; ``order`` holds (video, frame) of each item."""

    def __init__(self, order):
        self.order = order

    def __len__(self):
        return len(self.order)

    def get_data_info(self, index):
        return dict(zip(('video_id', 'frame_id'), self.order[index], strict=True))


def sampler(monkeypatch, order, rank=0, world_size=1):
    monkeypatch.setattr('semidff.datasets.samplers.get_dist_info', lambda: (rank, world_size))
    return VideoSampler(Frames(order), seed=3)


LENGTHS = (3, 9, 1, 4, 2)
ORDER = [(video, frame) for video, length in enumerate(LENGTHS) for frame in range(length)]


def test_frames_are_sorted_within_videos(monkeypatch):
    found = list(sampler(monkeypatch, [('b', 1), ('a', 0), ('b', 0), ('a', 2), ('a', 1)]))
    assert found == [2, 0, 1, 4, 3]


def test_every_frame_once_and_balanced(monkeypatch):
    shares = [list(sampler(monkeypatch, ORDER, rank, 2)) for rank in range(2)]
    assert [len(share) for share in shares] == [10, 9]
    assert sorted(shares[0] + shares[1]) == list(range(19))
    videos = [[ORDER[index][0] for index in share] for share in shares]
    assert videos == [[1] * 9 + [2], [0] * 3 + [3] * 4 + [4] * 2]
