"""The contract: however a detector and videos are run, results are those of single eager frames.

The reference is checked by hand here and in ``test_stages.py``; all other ways are compared with
it.
"""

import copy
import functools
from collections.abc import Callable, Iterator
from itertools import islice, product

import pytest
import torch
from mmdet.structures import SampleList

from semidff.inference import (
    METHODS,
    Acceleration,
    FixedSchedule,
    SceneCutSchedule,
    Stages,
    accelerate,
)
from semidff.inference.executors import Executor
from semidff.models import VideoDetector, video_detector
from semidff.points.runs import Memo
from tests.tiny import models
from tests.tiny.stages import frame_of, results, stages, together
from tests.tiny.videos import batch

SETTINGS = dict(
    cuts=dict(schedule=SceneCutSchedule(4)),
    fields=dict(schedule=SceneCutSchedule(4), keep_fields=True),
    causal=dict(schedule=SceneCutSchedule(4), filter='causal'),
    both=dict(schedule=SceneCutSchedule(4), filter='both'),
    identities=dict(schedule=SceneCutSchedule(4), filter='identities'),
    light=dict(schedule=SceneCutSchedule(4), light_every=2),
    tracked=dict(schedule=SceneCutSchedule(4), light_every=0, filter='both'),
)
FILTERED = 'causal', 'both', 'light', 'tracked', 'identities'
KEYS = [[0, 4, 8], [0, 4, 6, 8], [0, 4, 5]]  # every 4 frames, and where a scene begins
SCENES = [(0, 0, 9), (1, 0, 6), (1, 6, 8), (1, 8, 10), (2, 0, 5), (2, 5, 7)]
"""Video, first frame and end of each scene."""


def video(number: int) -> list[dict]:
    """A video of one scene, one with a cut at frame 6 and another size from frame 8, and one of
    that size with a gap in time ahead of frame 5."""
    frames = [batch(number, index) for index in range((9, 10, 7)[number])]
    for index, data in enumerate(frames):
        (image,) = data['inputs']
        if number == 1 and index >= 6:
            image = 255 - image
        if number == 2 or (number == 1 and index >= 8):
            image = image[:, :, :64].contiguous()
            data['data_samples'][0].set_metainfo(dict(ori_shape=(64, 64), img_shape=(64, 64)))
        data['inputs'] = [image]
        data['data_samples'][0].set_metainfo(dict(after_gap=(number, index) == (2, 5)))
    return frames


def live(run: Stages, videos: list) -> list[SampleList]:
    """Frames one by one, of all videos in turn."""
    runs, found = [run.run(map(frame_of, v), chunk=1) for v in videos], [[] for _ in videos]
    for _ in range(max(map(len, videos))):
        for frames, own in zip(runs, found, strict=True):
            own += [frame.sample for frame in islice(frames, 1)]
    return found


def batched(run: Stages, videos: list) -> list[SampleList]:
    """Streams in batches, begun one after the other: key frames of one meet other frames of the
    next."""
    turns = [
        {n: frames[tick - n] for n, frames in enumerate(videos) if 0 <= tick - n < len(frames)}
        for tick in range(12)
    ]
    return together(run, turns)


def file(workers: int, chunk: int | None) -> Callable:
    return lambda run, videos: [results(run, v, workers, chunk) for v in videos]


WAYS = {'live': live, 'batched': batched} | {
    f'{workers} workers, chunks of {chunk}': file(workers, chunk)
    for workers, chunk in ((1, None), (1, 1), (2, None), (3, 3))
}
FILE, WORKERS = '1 workers, chunks of None', '2 workers, chunks of None'
CHUNKS = '3 workers, chunks of 3'


@functools.cache
def detector(kind: str) -> VideoDetector:
    return models.tiny_video_detector(kind).eval()


@functools.cache
def reference(kind: str, method: str, setting: str) -> list[SampleList]:
    """Results of single frames, of one video after the other."""
    return [
        results
        for number in range(3)
        for results in live(stages(detector(kind), method, **SETTINGS[setting]), [video(number)])
    ]


def on_gpu(model: VideoDetector, options: Acceleration) -> Executor:
    executor = accelerate(model.to('cuda'), options)
    executor.model.data_preprocessor._non_blocking = True  # as load_model
    return executor


def channels_last(model: VideoDetector) -> Executor:
    """Not a matter of course: mmcv's RoIAlign misreads such maps."""
    fast = accelerate(model, Acceleration(channels_last=True))
    weights = [m.weight for m in fast.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    return fast


# What makes an executor of a model; tolerance of scores, and of boxes in 100 pixels; the share of
# other detections: NMS and limits turn over near ties.
EXECUTORS: dict[str, tuple[Callable[[VideoDetector], Executor], float, float]] = dict(
    eager=(lambda model: model, 1e-5, 0.04),
    graphs=(lambda model: on_gpu(model, Acceleration()), 1e-5, 0.04),
    channels_last=(channels_last, 1e-3, 0),
    bf16=(lambda model: accelerate(model, Acceleration('bf16')), 0.05, 0.2),
    fp16=(lambda model: accelerate(model, Acceleration('fp16')), 0.05, 0.2),
    bf16_channels_last=(lambda model: accelerate(model, Acceleration('bf16', True)), 0.05, 0.3),
)


CAPTURES = dict(live=4, batched=5)
"""Graphs of two sizes of key and of non-key frames; of the latter, of one frame and of two."""


def assert_equal(found: SampleList, expected: SampleList, tolerance: float, share: float) -> None:
    """Frames in order, with equal key frames, and equal boxes; all bits if the tolerance is 0."""
    for name in ('frame_id', 'video_id', 'is_key_frame', 'frame_kind'):
        assert [r.get(name) for r in found] == [r.get(name) for r in expected], name
    some, others = ([r.pred_instances for r in results] for results in (found, expected))
    assert {one.bboxes.device.type for one in some} == {'cpu'}
    assert {one[key].dtype for one in some for key in ('bboxes', 'scores')} == {torch.float32}
    count = sum(map(len, others))
    assert count > 2 * len(others)
    limit = share * count
    assert models.unmatched(some, others, tolerance) <= limit
    assert models.unmatched(others, some, tolerance) <= limit
    if not tolerance:  # with rounding, an object more or less changes the numbers of all later ones
        for name in {'bboxes', 'instances_id'} & {*others[0].keys()}:
            assert all(torch.equal(a[name], b[name]) for a, b in zip(some, others, strict=True))
    for name in ('feature_flow', 'scale_field'):
        pairs = [(a.get(name), b.get(name)) for a, b in zip(found, expected, strict=True)]
        assert all((a is None) == (b is None) for a, b in pairs)
        for a, b in pairs:
            if a is not None:
                torch.testing.assert_close(a.cpu(), b, rtol=1e-4, atol=1e-4)


def identities(results: SampleList) -> set[int]:
    found = [one.pred_instances.instances_id.tolist() for one in results]
    assert all(len({*own} - {-1}) == len(own) - own.count(-1) for own in found)
    return {one for own in found for one in own} - {-1}


def cases() -> Iterator[tuple[str, str, str, str, str]]:
    every = list(METHODS.module_dict)
    fast = 'frame', 'propagate'
    yield from product(['eager'], ['retinanet'], every, WAYS, ['cuts'])
    yield from product(['eager'], ['retinanet'], every, [WORKERS], FILTERED)
    yield from product(['eager'], ['rfcn', 'faster_rcnn'], [*fast, 'focus'], [WORKERS], ['light'])
    yield from product(
        ['eager'],
        ['retinanet'],
        ['propagate', 'interpolate', 'focus'],
        ['batched', CHUNKS],
        FILTERED,
    )
    yield from product(['eager'], ['rfcn', 'faster_rcnn'], fast, ['batched', WORKERS], ['cuts'])
    yield from product(['graphs'], ['retinanet'], every, ['live', FILE], ['cuts'])
    yield from product(['graphs'], ['rfcn', 'faster_rcnn'], fast, ['live', FILE], ['cuts'])
    yield from product(['graphs'], ['retinanet'], fast, ['batched'], ['cuts'])
    yield from product(['graphs'], ['retinanet'], ['propagate'], ['live'], ['fields'])
    for executor in ('channels_last', 'bf16', 'fp16'):
        yield from product([executor], models.KINDS, ['propagate'], ['live'], ['cuts'])
    offline = ('frame', 'centered', 'interpolate', 'sff-fast')
    yield from product(['bf16_channels_last'], ['rfcn'], offline, ['live'], ['cuts'])


@pytest.mark.parametrize(('executor', 'kind', 'method', 'way', 'setting'), cases())
def test_results_are_those_of_single_frames(executor, kind, method, way, setting, request):
    gpu = request.getfixturevalue('gpu') if executor == 'graphs' else None
    make, tolerance, share = EXECUTORS[executor]
    if executor == 'eager' and way == 'live':
        tolerance = 0
    if not tolerance or (executor == 'eager' and kind == 'retinanet'):
        share = 0
    if setting in FILTERED and tolerance:
        share = 0.15  # rounding turns over near ties, which later frames remember
    run = stages(make(copy.deepcopy(detector(kind))), method, **SETTINGS[setting])
    found = sum(WAYS[way](run, [video(number) for number in range(3)]), [])
    assert_equal(found, sum(reference(kind, method, setting), []), tolerance, share)
    if gpu:
        assert gpu.captures and not gpu.failed_captures
        if (method, setting) == ('propagate', 'cuts') and way in CAPTURES:
            assert gpu.captures == CAPTURES[way]


@pytest.mark.parametrize(
    ('method', 'setting'),
    [
        *product(METHODS.module_dict, ['cuts', 'both']),
        *product(['propagate', 'interpolate'], ['causal', 'light', 'tracked', 'identities']),
        ('focus', 'light'),
    ],
)
def test_scenes_are_as_each_alone(method, setting):
    """Key frames begin them, no results are lost, and nothing before, or of another stream, has an
    effect."""
    found = reference('retinanet', method, setting)
    assert [[r.frame_id for r in own] for own in found] == [[*range(len(own))] for own in found]
    assert [[r.frame_id for r in own if r.is_key_frame] for own in found] == KEYS
    for number, first, end in SCENES:
        run = stages(
            detector('retinanet'), method, **{**SETTINGS[setting], 'schedule': FixedSchedule(4)}
        )
        ((*alone,),) = live(run, [video(number)[first:end]])
        own = found[number][first:end]
        if run.point.filter:  # identities are those of no earlier scene
            before, now = identities(found[number][:first]), identities(own)
            assert not before & now
            shift = min(now, default=0) - min(identities(alone), default=0)
            for one in alone:
                ids = one.pred_instances.instances_id
                ids[ids >= 0] += shift
        assert_equal(own, alone, 0, 0)


@pytest.mark.parametrize('large', [False, True])
def test_remembered_detections_are_shared_by_methods_and_schedules(large, monkeypatch):
    if large:  # frames that are not propagated as a batch
        monkeypatch.setattr(video_detector, '_FEW_PIXELS', 0)
    model = copy.deepcopy(detector('retinanet'))
    calls, remembered, found = [], Memo(model), {}

    def detect(executor: Executor, method: str, first: int) -> SampleList:
        schedule = FixedSchedule(1 if method == 'frame' else 4, first)
        return results(stages(executor, method, schedule=schedule), video(0)[:7])

    model.temporal.register_forward_hook(lambda *_: calls.append(1))
    methods = 'frame', 'small', 'focus', 'track', 'interpolate', 'propagate', 'centered'
    for method in methods:
        for first in (2, 4):
            found[method, first] = detect(remembered, method, first)
    # first key frames 0, 4 (propagate: 5 pairs; centered: frame 3 from frame 4) and 0, 2, 6 (4
    # pairs, of which frame 1 from 0 is known; centered: frame 5 from frame 6)
    assert len(calls) == 5 + 1 + 3 + 1
    for (method, first), own in found.items():
        assert_equal(own, detect(detector('retinanet'), method, first), 1e-6, 0)
