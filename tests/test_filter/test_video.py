"""The filter over a video: both ways, and detections in COCO's format."""

import subprocess
import sys
import weakref

import numpy as np
import pytest

from semidff.filter import VideoFilter, filter_coco
from semidff.filter.links import overlaps
from semidff.filter.video import AHEAD
from tests.tiny.pictures import picture

SIZE = (128, 160)


def path(number):
    """The box of an object on a frame."""
    x, y = 50 + 40 * np.sin(number / 25), 40 + 20 * np.cos(number / 17)
    return np.array([x, y, x + 40, y + 50])


def frames_of(count):
    return [picture(SIZE, [path(n)], (6 * np.sin(n / 9), 0)) for n in range(count)]


def detections(number, every=10, begin=0):
    """What a noisy detector finds on every tenth frame, of an object that appears on a frame."""
    if number % every:
        return None
    rng = np.random.default_rng(number)
    count = int(number >= begin)
    box = (path(number) + rng.normal(0, 1, 4))[None]
    return box[:count], rng.uniform(0.6, 0.9, 1)[:count], np.zeros(count, int)


def run(tracks, pictures, found):
    results = [
        one
        for args in zip(pictures, found, strict=True)
        for one in tracks.push(args[0], SIZE, args[1])
    ]
    return results + tracks.flush()


@pytest.mark.parametrize(
    ('count', 'ahead'), [(1, 5), (9, 5), (10, 5), (11, 5), (57, 5), (57, AHEAD)]
)
def test_results_are_complete_and_in_order(count, ahead):
    pictures, tracks = frames_of(count), VideoFilter(1, both_ways=True, ahead=ahead)
    returned = [
        len(tracks.push(one, SIZE, detections(n, every=1))) for n, one in enumerate(pictures)
    ]
    assert returned == [ahead * (n >= 2 * ahead and n % ahead == 0) for n in range(1, count + 1)]
    found = tracks.flush()
    assert sum(returned) + len(found) == count and tracks.flush() == []
    again = VideoFilter(1, both_ways=True, ahead=ahead)
    results = run(again, pictures, [detections(n, every=1) for n in range(count)])
    for number, one in enumerate(results):
        assert overlaps(one.boxes, path(number)[None])[0, 0] > 0.85
        assert one.sources.tolist() == [[number, 0]]


def test_causal_results_come_at_once():
    tracks = VideoFilter(1)
    for number, one in enumerate(frames_of(12)):
        assert len(tracks.push(one, SIZE, detections(number))) == 1
    assert tracks.flush() == []


def test_memory_does_not_grow():
    tracks, alive = VideoFilter(1, both_ways=True, ahead=5), weakref.WeakSet()

    class Picture(np.ndarray):
        """An array that can be hashed."""

        __hash__ = object.__hash__

    kept = []
    for number in range(60):
        one = picture(SIZE, [path(number)]).view(Picture)
        alive.add(one)
        tracks.push(one, SIZE, detections(number))
        del one
        kept.append(len(alive))
    assert max(kept) <= 2 * 5 + 1


def test_windows_equal_the_whole_clip():
    """What is beyond 20 frames has faded: scores to 0.85 ** 20 = 4 %, and boxes to less, behind two
    key frames.
    """
    count = 101
    pictures, found = frames_of(count), [detections(n) for n in range(count)]
    windows = run(VideoFilter(1, both_ways=True), pictures, found)
    whole = run(VideoFilter(1, both_ways=True, ahead=count), pictures, found)
    for one, other in zip(windows, whole, strict=True):
        assert len(one.boxes) == len(other.boxes) == 1
        assert one.boxes == pytest.approx(other.boxes, abs=0.5)
        assert one.scores == pytest.approx(other.scores, abs=0.02)


def test_both_ways_are_better_than_one():
    count = 101
    pictures, found = frames_of(count), [detections(n, every=20) for n in range(count)]
    errors = [
        np.mean([np.abs(one.boxes[0] - path(n)).mean() for n, one in enumerate(results)])
        for results in (run(VideoFilter(1, both), pictures, found) for both in (False, True))
    ]
    assert errors[1] < 0.9 * errors[0]


def test_an_object_that_appears_between_key_frames_has_boxes_before_the_next_one():
    pictures = [picture(SIZE, [path(n)] if n >= 4 else []) for n in range(31)]
    found = [detections(n, begin=4) for n in range(31)]
    causal, both = (run(VideoFilter(1, ways), pictures, found) for ways in (False, True))
    assert [len(one.boxes) for one in causal] == [0] * 10 + [1] * 21
    for number in range(4, 31):
        assert overlaps(both[number].boxes, path(number)[None]).max() > 0.8
    key = both[10].scores[0]
    assert [one.scores[0] for one in both[4:10]] == pytest.approx([key / 2] * 6, rel=0.2)


def test_identities_of_a_frame_are_different():
    other, both = [100.0, 80, 130, 110], []
    tracks = VideoFilter(1, both_ways=True)
    for number in range(11):  # one object from the beginning, one from frame 4
        boxes = [path(0), np.array(other)][: 1 + (number >= 4)]
        found = None
        if number % 10 == 0:
            found = np.array(boxes), np.array([0.8, 0.9])[: len(boxes)], np.zeros(len(boxes), int)
        both += tracks.push(picture(SIZE, boxes), SIZE, found)
    both += tracks.flush()
    assert [len(one.ids) for one in both] == [2] * 11
    assert all(len({*one.ids.tolist()}) == 2 for one in both)
    assert len({*np.concatenate([one.ids for one in both]).tolist()}) == 2


@pytest.mark.parametrize('both_ways', [False, True])
def test_a_new_scene_has_other_identities(both_ways):
    tracks, (one, *_) = VideoFilter(1, both_ways), frames_of(1)
    first = [*tracks.push(one, SIZE, detections(0)), *tracks.new_scene()]
    assert tracks.flush() == []
    second = [*tracks.push(one, SIZE), *tracks.push(one, SIZE, detections(0)), *tracks.flush()]
    assert [found.ids.tolist() for found in first] == [[0]]
    assert [found.ids.tolist() for found in second[1 - both_ways :]] == [[1]] * (1 + both_ways)


@pytest.mark.parametrize('first', [0, 4])
def test_scores_ahead_of_the_first_detections_and_behind_the_last_ones(first):
    tracks, box = VideoFilter(1, both_ways=True), path(0)
    found = [
        (box[None], np.array([0.8]), np.zeros(1, int)) if n in (first, 10) else None
        for n in range(15)
    ]
    results = run(tracks, [picture(SIZE, [box])] * 15, found)
    assert [one.scores[0] for one in results[4:11]] == pytest.approx([0.8] * 7)
    assert [one.scores[0] for one in results] == pytest.approx([0.8] * 15)


# COCO


@pytest.mark.parametrize('both_ways', [False, True])
def test_coco(both_ways):
    images = [np.repeat(one[..., None], 3, 2) for one in frames_of(31)]
    given = []
    for number in range(0, 31, 10):
        [box], [score], _ = detections(number)
        corner, size = box[:2].tolist(), (box[2:] - box[:2]).tolist()
        one = dict(image_id=number, category_id=90, bbox=[*corner, *size], score=float(score))
        given += [one, dict(one, category_id=7, score=0.03)]
    copy = [dict(one) for one in given]
    results = list(filter_coco(iter(images), iter(given), both_ways))
    assert given == copy
    assert [one['image_id'] for one in results] == sorted(one['image_id'] for one in results)
    strong = [one for one in results if one['category_id'] == 90]
    assert [one['image_id'] for one in strong] == list(range(31))
    assert {one['track_id'] for one in strong} == {0}
    weak = [one for one in results if one['category_id'] == 7]
    assert len(weak) == 31 and {(one['track_id'], one['score']) for one in weak} == {(-1, 0.03)}
    tracks = VideoFilter(2, both_ways)
    arrays = [detections(n) for n in range(31)]
    arrays = [one and (*one[:2], np.ones(1, int)) for one in arrays]
    for one, expected in zip(strong, run(tracks, [i[..., 0] for i in images], arrays), strict=True):
        x, y, width, height = one['bbox']
        assert [x, y, x + width, y + height] == pytest.approx(expected.boxes[0])
        assert one['score'] == pytest.approx(expected.scores[0])


def test_coco_without_detections():
    assert list(filter_coco([np.zeros((20, 30, 3), np.uint8)] * 3, [])) == []


def test_unchanged_detections_of_every_frame_stay_as_they_are():
    images = [np.repeat(picture(SIZE)[..., None], 3, 2)] * 8
    one = dict(category_id=3, bbox=[20.0, 30.0, 40.0, 50.0], score=0.75)
    for result in filter_coco(images, [dict(one, image_id=n) for n in range(8)]):
        assert result.pop('track_id') == 0 and 0 <= result.pop('image_id') < 8
        assert result.pop('bbox') == pytest.approx(one['bbox'])
        assert result == dict(category_id=3, score=pytest.approx(0.75))


def test_import_is_light():
    heavy = 'torch', 'mmdet', 'mmengine', 'mmcv'
    code = f'import sys, semidff.filter; print([name for name in {heavy} if name in sys.modules])'
    assert subprocess.check_output([sys.executable, '-c', code], text=True).strip() == '[]'
