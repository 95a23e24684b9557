"""VideoInferencer's speed options: the same results, read ahead or not, in every precision."""

import gc
import threading
from itertools import islice

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from semidff.apis import VideoInferencer
from semidff.datasets.video_readers import Frame, VideoError, VideoWarning
from semidff.inference import Acceleration
from tests.damaged_video import wipe, write_video
from tests.test_apis.test_video_inferencer import all_same, arrays
from tests.tiny_video import SIZE, build, test_settings, video_detector_cfg


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A config, a checkpoint and a video."""
    folder = tmp_path_factory.mktemp('speed')
    Config(test_settings(folder / 'val.json', folder / 'work')).dump(folder / 'config.py')
    state = build(video_detector_cfg(), seed=3).state_dict()
    torch.save(dict(state_dict=state), folder / 'two.pth')
    write_video(folder / 'street.mp4', 14, size=SIZE)
    return folder


def make(project, config=None, **options) -> VideoInferencer:
    options = dict(show_progress=False, device='cpu', key_interval=4, classes=('a', 'b')) | options
    return VideoInferencer(config or str(project / 'config.py'), project / 'two.pth', **options)


def reading() -> int:
    return sum(thread.name.startswith('read-ahead') for thread in threading.enumerate())


@pytest.mark.parametrize('method', ['propagate', 'centered'])
def test_reading_ahead_changes_nothing(project, method):
    path = project / 'street.mp4'
    expected = list(make(project, method=method, read_ahead=0)(path))
    for depth in (1, 4, 100):
        samples = list(make(project, method=method, read_ahead=depth)(path))
        assert all_same(samples, expected)
        for key in ('frame_id', 'timestamp', 'is_key_frame', 'video_name', 'ori_shape'):
            assert [s.get(key) for s in samples] == [s.get(key) for s in expected]
    assert reading() == 0


def test_files_and_lists_are_read_ahead_and_iterators_are_not(project):
    inferencer = make(project)
    for source, threads in ((project / 'street.mp4', 1), (arrays(), 1), (iter(arrays()), 0)):
        results = inferencer(source)
        next(results)
        assert reading() == threads
        results.close()
        assert reading() == 0


def test_an_iterator_may_be_read_ahead_too(project):
    expected = list(make(project)(iter(arrays())))
    assert all_same(make(project, read_ahead=3)(iter(arrays())), expected)


def test_errors_come_at_their_frame_and_leave_no_files(project, tmp_path):
    def broken():
        yield from arrays(0, 3)
        raise ConnectionError('the cable')

    results = make(project, read_ahead=8)(broken(), out_json=tmp_path / 'o.json')
    assert len([next(results) for _ in range(3)]) == 3
    with pytest.raises(ConnectionError, match='the cable'):
        next(results)
    assert not list(tmp_path.iterdir()) and reading() == 0


@pytest.mark.parametrize('depth', [0, 5])
def test_damaged_video(project, tmp_path, depth):
    path = wipe(tmp_path / 'damaged.mp4', write_video(tmp_path / 'whole.mp4'), 0.3, 0.5)
    inferencer = make(project, read_ahead=depth)
    with pytest.warns(VideoWarning, match=r'damaged\.mp4: \d+ frames are damaged'):
        numbers = [sample.frame_id for sample in inferencer(path)]
    assert len(numbers) < 30 and numbers[-1] == 29  # those that are left out are counted
    results = inferencer(path, strict=True)
    assert [next(results).frame_id for _ in numbers] == numbers
    with pytest.raises(VideoError, match=r'damaged\.mp4: \d+ frames are damaged'):
        next(results)


def test_memory_does_not_grow(project):
    results = make(project, read_ahead=3)(np.stack(arrays() * 8))

    def alive_after(frames: int) -> int:
        for _ in islice(results, frames):
            pass
        gc.collect()
        kinds = (DetDataSample, Frame, torch.Tensor)
        return sum(type(thing) in kinds for thing in gc.get_objects())

    before = alive_after(8)
    # the thread may hold one frame more or less, of few objects each
    assert alive_after(40) <= before + 10
    results.close()


def test_precision_and_layout(project):
    plain = list(make(project)(arrays()))
    fast = make(project, precision='bf16', channels_last=True)
    assert fast.model.options == Acceleration('bf16', channels_last=True)
    assert fast.model.dataset_meta == dict(classes=('a', 'b'))
    samples = list(fast(arrays()))
    scores = [[s.pred_instances.scores.max().item() for s in some] for some in (plain, samples)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02) and scores[0] != scores[1]
    assert samples[1].pred_instances.bboxes.dtype == torch.float32


def test_defaults_are_those_of_the_config(project):
    config = Config.fromfile(project / 'config.py')
    assert make(project).model.options is None
    config.test_cfg.fp16 = True
    config.custom_hooks = [dict(type='ChannelsLastHook')]
    assert make(project, config).model.options == Acceleration('bf16', channels_last=True)
    other = make(project, config, precision='fp32', channels_last=False)
    assert other.model.options is None


def test_invalid_options(project):
    with pytest.raises(ValueError, match="precision 'int4' is unknown"):
        make(project, precision='int4')
