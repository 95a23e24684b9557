"""Results of live video while the detector is busy: those of an engine without the key frames that are not finished."""

from collections import deque
from concurrent.futures import Future

import pytest
import torch

from semidff.inference import KeyFrameSchedule
from semidff.inference.bounded import detect_bounded
from tests.tiny import models
from tests.tiny.stages import frame_of, results, stages
from tests.tiny.videos import batch

FRAMES = 18


class Detector:
    """A thread that works when the test lets it."""

    def __init__(self):
        self.waiting = deque()

    def submit(self, function, *arguments):
        self.waiting.append((done := Future(), function, arguments))
        done.result = lambda result=done.result: (self.work(), result())[1]
        return done

    def work(self):
        while self.waiting:
            done, function, arguments = self.waiting.popleft()
            try:
                done.set_result(function(*arguments))
            except Exception as error:
                done.set_exception(error)


class Keys(KeyFrameSchedule):
    """Key frames with given indices."""

    def __init__(self, keys):
        self.keys = keys

    def is_key(self, frame, distance):
        return frame.number in self.keys


def synchronous(model, keys, frames, *arguments, **options):
    """The result of the last frame."""
    run = stages(model, *arguments, schedule=Keys(keys), **options)
    return results(run, [batch(0, index) for index in range(frames)])[-1]


def same(first, second, names=('bboxes', 'scores', 'labels')):
    pairs = ((first.pred_instances[name], second.pred_instances[name]) for name in names)
    return all(
        a.shape == b.shape and torch.allclose(a.float(), b.float(), atol=1e-4) for a, b in pairs
    )


@pytest.mark.parametrize('busy', [0, 1, 3, 7])
@pytest.mark.parametrize(
    ('method', 'options'),
    [
        ('track', dict(filter='causal')),
        ('propagate', {}),
        ('copy', {}),
        ('small', {}),
        ('copy', dict(filter='causal', light_every=3)),
        ('propagate', dict(filter='identities')),
    ],
)
def test_results_are_those_with_the_finished_key_frames(model, method, options, busy):
    check(model, method, options, busy)


@pytest.mark.parametrize('kind', models.EXPORTED)
@pytest.mark.parametrize(('method', 'options'), [('track', {}), ('propagate', {})])
def test_every_kind_of_detector(kind, method, options):
    check(models.build(models.video_config(kind, 'VideoDetector')), method, options, busy=3)


def bounded(run, detector, batches):
    """Results of frames, each of which is read when its result is requested."""
    return (frame.sample for frame in detect_bounded(map(frame_of, batches), run, detector))


def check(model, method, options, busy):
    """A detection that takes ``busy`` frames is known on the next one."""
    detector, finished, started = Detector(), [0], {}
    batches = (batch(0, index) for index in range(FRAMES))
    video = bounded(stages(model, method, 4, **options), detector, batches)
    for index in range(FRAMES):
        for key in [key for key in started if index > key + busy]:
            detector.work()
            finished.append(key)
            del started[key]
        found = next(video)
        if found.is_key_frame and index:
            assert not started and index >= finished[-1] + 4
            started[index] = index
        assert found.key_age == index - finished[-1]
        assert (found.frame_kind == 'key') == (index == 0)
        expected = synchronous(model, finished, index + 1, method, **options)
        # Light frames depend on what was finished then. Those that are key frames themselves are tracked.
        if not (index and 'light_every' in options and (busy or found.is_key_frame)):
            assert same(found, expected), index
    assert len(finished) > 1 and len(found.pred_instances)


def test_while_the_detector_is_busy_no_key_frame_begins(model):
    detector = Detector()
    video = bounded(stages(model, 'track', 2), detector, (batch(0, index) for index in range(16)))
    found = [next(video) for _ in range(12)]
    assert [one.frame_id for one in found if one.is_key_frame] == [0, 2]
    detector.work()
    found = [*video]
    assert [one.is_key_frame for one in found] == [True, False, False, False]
    assert [one.key_age for one in found] == [10, 11, 12, 13]


def test_a_scene_waits_for_its_first_detection_and_forgets_the_one_before(model):
    detector, after = Detector(), batch(0, 0)
    after['data_samples'][0].set_metainfo(dict(after_gap=True))
    batches = [*(batch(1, index) for index in range(5)), after, batch(0, 1)]
    video = bounded(stages(model, 'track', 3), detector, batches)
    for _ in range(5):
        next(video)
    assert detector.waiting
    found = next(video)
    assert found.is_key_frame and found.key_age == 0
    expected = synchronous(model, [0], 1, 'track')
    assert same(found, expected)
    first = found.pred_instances.instances_id.min()
    found = next(video)
    assert same(found, synchronous(model, [0], 2, 'track'))
    assert found.pred_instances.instances_id.max() >= first > 0


def test_an_error_of_the_detector_is_raised(model, monkeypatch):
    run = stages(model, 'track', 3)
    assert run.can_be_bounded
    frames = run.run_bounded(frame_of(batch(0, index)) for index in range(100))
    assert next(frames).sample.key_age == 0

    def broken(*arguments):
        raise RuntimeError('the detector')

    monkeypatch.setattr(type(run.method), 'key', broken)
    with pytest.raises(RuntimeError, match='the detector'):
        list(frames)


@pytest.mark.parametrize(
    ('method', 'options', 'expected'),
    [
        ('frame', {}, False),
        ('interpolate', {}, False),
        ('track', dict(filter='both'), False),
        ('track', dict(key_interval=1), True),
        ('propagate', dict(light_every=2), True),
    ],
)
def test_methods_with_results_between_key_frames_can_be_bounded(model, method, options, expected):
    assert stages(model, method, **options).can_be_bounded == expected
