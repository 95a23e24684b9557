"""Results of live video while the detector is busy: they depend on finished key frames alone."""

from collections import deque
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from semidff.datasets.video_readers import Frame
from semidff.filter.links import overlaps
from semidff.inference import KeyFrameSchedule
from semidff.inference.bounded import detect_bounded
from tests.tiny import models
from tests.tiny.pictures import picture
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


@pytest.mark.parametrize('busy', [0, 3, 7])
@pytest.mark.parametrize(
    ('kind', 'method', 'options'),
    [
        ('retinanet', 'propagate', {}),
        ('rfcn', 'propagate', {}),
        ('retinanet', 'copy', {}),
        ('retinanet', 'small', {}),
        ('retinanet', 'propagate', dict(filter='identities')),
    ],
)
def test_results_are_those_with_the_finished_key_frames(kind, method, options, busy):
    """A detection that takes ``busy`` frames is known on the next one."""
    model = models.tiny_video_detector(kind).eval()
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
        assert same(found, synchronous(model, finished, index + 1, method, **options)), index
    assert len(finished) > 1 and len(found.pred_instances)


SIZE, STEP = (96, 128), 1.5


@pytest.mark.parametrize('busy', [0, 2, 5])
@pytest.mark.parametrize(('method', 'light_every'), [('track', 0), ('copy', 3)])
def test_late_detections_are_moved_to_the_current_frame(
    model, monkeypatch, method, busy, light_every
):
    """Of two objects that move, the second one enters behind the first key frame."""
    detector, run = Detector(), stages(model, method, 4, light_every=light_every)
    truth = [
        np.array([[10, 10, 40, 50], [60, 30, 90, 80.0]])[: 1 + (index > 0)] + [STEP * index, 0] * 2
        for index in range(FRAMES)
    ]

    def detect(frames):
        (frame,) = frames
        boxes = torch.tensor(truth[frame.index], dtype=torch.float32)
        ones = torch.ones(len(boxes))
        found = InstanceData(bboxes=boxes, scores=0.9 * ones, labels=0 * ones.long())
        frame.sample.pred_instances = frame.detections = found
        return [frame.sample]

    def frames():
        for index, boxes in enumerate(truth):
            sample = DetDataSample(metainfo=dict(ori_shape=SIZE, img_shape=SIZE, frame_id=index))
            inputs = torch.zeros(3, 8, 8, dtype=torch.uint8)
            yield Frame(None, index, inputs=inputs, sample=sample, picture=picture(SIZE, boxes))

    monkeypatch.setattr(run.method, 'key', detect)
    monkeypatch.setattr(run.method, 'non_key', detect)
    found, start = [], None
    for frame in detect_bounded(frames(), run, detector):
        found.append(frame.sample)
        if detector.waiting and start is None:
            start = frame.index
        if start is not None and frame.index >= start + busy:
            detector.work()
            start = None
    ids = set()
    for index, one in enumerate(found):
        late = 4 + busy  # the first key frame behind the first, and the frame of its result
        boxes = one.pred_instances.bboxes.numpy()
        if method == 'track':
            assert len(boxes) == 1 + (index > late), index
        for box in boxes:
            assert overlaps(box[None].astype(float), truth[index]).max() > 0.85, index
        ids |= {*one.pred_instances.instances_id.tolist()} - {-1}
    assert len(ids) == 2


def bounded(run, detector, batches):
    """Results of frames, each of which is read when its result is requested."""
    return (frame.sample for frame in detect_bounded(map(frame_of, batches), run, detector))


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
