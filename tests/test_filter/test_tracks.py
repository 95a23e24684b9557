"""The filter of tracks: its equations for one object, and what it does with objects of a video."""

from itertools import permutations

import cv2
import numpy as np
import pytest

from semidff.filter import Reliability, TrackFilter, VideoFilter, combine, report
from semidff.filter.links import link, overlaps
from semidff.filter.motion import Motion
from tests.tiny.pictures import picture

SIZE = (128, 160)
BOX = [40.0, 30, 80, 90]
STILL = picture(SIZE)
NOTHING = np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)


def found(*objects):
    """Detections, of (box, score) or (box, score, label)."""
    boxes = np.array([one[0] for one in objects], float).reshape(-1, 4)
    labels = np.array([one[2] if len(one) > 2 else 0 for one in objects], int)
    return boxes, np.array([one[1] for one in objects], float), labels


def results(frames, classes=2, tracks=None):
    """Results of a picture that is repeated, given the detections of each frame."""
    tracks = tracks or TrackFilter(classes)
    return [report(tracks.step(STILL, SIZE, one)) for one in frames]


def moved(motion):
    """In place of ``move_boxes``, a function whose boxes make given steps, grow and have a spread
    if followed."""

    def move_boxes(before, after, boxes, velocities, camera, followed):
        steps, growth, spread = motion(len(boxes))
        steps = np.where(followed[:, None], steps, velocities)
        return Motion(steps, np.where(followed, growth, 0.0), np.where(followed, spread, np.inf))

    return move_boxes


# One object


def mean(values, weights):
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


@pytest.mark.parametrize('scale', [1, 0.5])
def test_equations(monkeypatch, scale):
    """The values of docs/filter.md for a box of side 50, computed by hand; pictures may be smaller
    than frames."""
    monkeypatch.setattr('semidff.filter.tracks.camera_motion', lambda *_: np.eye(2, 3))
    motion = moved(lambda _: (np.array([2.0, 0]) * scale, 0.0, 1.5 * scale))
    monkeypatch.setattr('semidff.filter.tracks.move_boxes', motion)
    small = np.zeros((int(SIZE[0] * scale), int(SIZE[1] * scale)), np.uint8)
    tracks = TrackFilter(1)

    def check(detections, box, weight, score, evidence):
        one = tracks.step(small, SIZE, detections)
        assert one.boxes[0] == pytest.approx(box) and one.weights[0] == pytest.approx(weight)
        assert one.scores[0, 0, 0] == pytest.approx(score)
        assert one.evidence[0] == pytest.approx(evidence)

    box, right = np.array([20.0, 20, 70, 70]), np.array([2.0, 0, 2, 0])
    check(found((box, 0.8)), box, 0.8, 0.8, 1)
    # The points' spread of 1.5, half a pixel of the picture and a twentieth of the step, in sizes
    # of the box.
    drift = 6 * (1.5 + 0.5 / scale + 0.1) / 50
    check(None, box + right, 1 / (1 / 0.8 + drift), 0.8, 0.85)
    # A detection that is 3 pixels off: its share of the sum of the weights decides.
    before = 1 / (1 / 0.8 + 2 * drift)
    box = box + 2 * right + 0.6 / (before + 0.6) * 3
    check(found((box + 3 * before / (before + 0.6), 0.6)), box, before + 0.6,
          (0.7225 * 0.8 + 0.6) / 1.7225, 1.7225)  # fmt: skip
    score, evidence, weight = (0.7225 * 0.8 + 0.6) / 1.7225, 1.7225 * 0.85, before + 0.6
    # A missed detection counts as a score of 0 and leaves the box.
    weight = 1 / (1 / weight + drift)
    score = evidence * score / (evidence + 1)
    check(NOTHING, box + right, weight, score, evidence + 1)
    # Points of an object that is not detected are not followed: its velocity goes on, and the error
    # is the largest.
    weight = 1 / (1 / weight + 6 * (10 / scale + 0.5 / scale + 0.1) / 50)
    check(None, box + 2 * right, weight, score, (evidence + 1) * 0.85)


def test_growth_is_about_the_center_and_costs_weight(monkeypatch):
    monkeypatch.setattr('semidff.filter.tracks.camera_motion', lambda *_: np.eye(2, 3))
    motion = moved(lambda _: (np.zeros(2), np.log(1.2), 0.0))
    monkeypatch.setattr('semidff.filter.tracks.move_boxes', motion)
    tracks = TrackFilter(1)
    tracks.step(STILL, SIZE, found(([20, 20, 70, 70], 1.0)))
    grown = tracks.step(STILL, SIZE)
    assert grown.boxes[0] == pytest.approx([15, 15, 75, 75])
    assert grown.weights[0] == pytest.approx(1 / (1 + 6 * (0.5 / 50 + 2 * np.log(1.2))))


# Matching


def test_boxes_are_linked_one_to_one_with_the_largest_gain():
    rng = np.random.default_rng(0)
    for _ in range(100):
        counts = rng.integers(0, 5, 2)
        boxes = [rng.uniform(0, 12, (n, 4)) + [0, 0, 40, 40] for n in counts]
        labels = [rng.integers(0, 2, n) for n in counts]
        scores = [np.stack([np.eye(2)[own], np.zeros((len(own), 2))], 1) for own in labels]
        rows, columns = link(boxes[0], scores[0], boxes[1], scores[1])
        assert len({*rows}) == len({*columns}) == len(rows)
        iou, same = overlaps(*boxes), labels[0][:, None] == labels[1]
        gain = np.where(iou >= np.where(same, 0.4, 0.6), iou + np.where(same, 1, 0.5), 0)
        assert (gain[rows, columns] > 0).all()
        tall = gain if counts[0] <= counts[1] else gain.T
        ways = permutations(range(tall.shape[1]), tall.shape[0])
        best = max(sum(tall[row, column] for row, column in enumerate(way)) for way in ways)
        assert gain[rows, columns].sum() == pytest.approx(best)


def test_iou():
    boxes = np.array([[0, 0, 10, 10], [5, 5, 5, 5.0]])
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30.0]])
    assert overlaps(boxes, others) == pytest.approx(np.array([[1, 1 / 3, 0], [0, 0, 0]]))


def test_objects_side_by_side_keep_their_identities():
    left, right = [20, 30, 50, 80], [44, 30, 74, 80]  # IoU 0.11
    frames = [
        found((left, 0.9), (right, 0.6)) if n % 2 else found((right, 0.9), (left, 0.6))
        for n in range(10)
    ]
    for one in results(frames)[1:]:
        assert dict(zip(one.boxes[:, 0].round(), one.ids, strict=True)) == {20: 1, 44: 0}


def test_links_prefer_settled_tracks():
    """A weak second box on an object takes its detection, and its identity, neither now nor when it
    is missed."""
    second = [40.0, 30, 64, 90]  # IoU 0.6 with the object, 0.4 with its box as it is found again
    frames = [found((BOX, 0.8))] * 6 + [found((second, 0.15))] * 2
    again = [40.0, 30, 70, 90]
    shown = results([*frames, found((again, 0.8))])[-1]
    assert shown.ids[0] == 0 and shown.scores[0] > 0.3


def test_weak_detections_take_no_identity_of_a_better_track():
    beside = [66.0, 30, 106, 90]  # IoU 0.2
    tracks = TrackFilter(1)
    results([found((BOX, 0.8))] * 6, tracks=tracks)
    shown = results([found((beside, 0.1))], tracks=tracks)[0]
    assert dict(zip(shown.ids.tolist(), shown.boxes[:, 0].round(), strict=True)) == {0: 40, 1: 66}
    # nothing is left of the track: its object has moved
    results([NOTHING] * 5, tracks=tracks)
    assert results([found((beside, 0.8))], tracks=tracks)[0].ids[0] in (0, 1)


@pytest.mark.parametrize('both', [False, True])
def test_an_object_that_is_hidden_goes_on_with_its_velocity(both):
    """It passes behind a post, where it is not detected, and comes out on the other side."""
    step, post, shown = np.array([2.0, 0, 2.0, 0]), [60.0, 10, 100, 110], []
    tracks = VideoFilter(1, both)
    for number in range(50):
        box = np.array([10.0, 40, 40, 90]) + number * step
        hidden = box[2] > 50 and box[0] < 95
        image = picture(SIZE, [box])
        left, top, right, bottom = map(int, post)
        image[top:bottom, left:right] = picture(SIZE, [post], seed=3)[top:bottom, left:right]
        shown += tracks.push(image, SIZE, found() if hidden else found((box, 0.8)))
    shown += tracks.flush()
    assert {one.ids[0] for one in shown if len(one.ids)} == {0}
    last = shown[-1].boxes[0]
    assert overlaps(last[None], box[None])[0, 0] > 0.8


# Classes


def test_an_object_whose_class_alternates_is_one_box_at_the_full_score():
    for one in results([found((BOX, 0.8, number % 2)) for number in range(30)])[1:]:
        assert one.scores == pytest.approx([0.8]) and one.boxes[0] == pytest.approx(BOX, abs=1e-6)
        assert one.ids.tolist() == [0]
    assert results([found((BOX, 0.8, 0)), *[found((BOX, 0.8, 1))] * 9])[-1].labels.tolist() == [1]


def test_two_classes_at_the_same_time_are_both_reported():
    alike = np.array(BOX) + 0.3
    for one in results([found((BOX, 0.7, 1), (alike, 0.4, 0))] * 20):
        assert one.scores == pytest.approx([0.7, 0.4]) and one.labels.tolist() == [1, 0]
        assert one.boxes == pytest.approx(np.array([BOX, BOX]), abs=1e-6)
        assert one.ids.tolist() == [0, -1]


def test_overlapping_objects_of_different_classes_are_two():
    person, bicycle = [40, 20, 80, 90], [38, 50, 86, 95]
    for one in results([found((person, 0.8, 0), (bicycle, 0.7, 1))] * 10):
        assert one.labels.tolist() == [0, 1] and one.ids.tolist() == [0, 1]
        assert one.scores == pytest.approx([0.8, 0.7])


def test_second_boxes_on_an_object_begin_no_track():
    second = [46, 30, 86, 90]  # IoU 0.74
    tracks = TrackFilter(2)
    results([found((BOX, 0.9))] * 3, tracks=tracks)
    for light in (True, False):
        shown = report(tracks.step(STILL, SIZE, found((BOX, 0.9), (second, 0.5)), light))
        assert shown.ids.tolist() == [0]
    other = report(tracks.step(STILL, SIZE, found((BOX, 0.9), (second, 0.5, 1))))
    assert other.ids.tolist() == [0, 1]


# Beginning and end


def test_a_repeated_frame_changes_nothing():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 90, (12, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 35, (12, 2))], 1)
    frame = found(*zip(boxes, rng.uniform(0.02, 0.95, 12), rng.integers(0, 3, 12), strict=True))
    first, *others = results([frame] * 100, classes=3)
    strong = first.scores > 0.3
    assert sorted(first.scores) == pytest.approx(sorted(frame[1])) and strong.sum() > 3
    for one in others:
        shown = one.scores > 0.3
        assert one.ids[shown].tolist() == first.ids[strong].tolist()
        assert one.boxes[shown] == pytest.approx(first.boxes[strong], abs=1e-3)
        assert one.scores[shown] == pytest.approx(first.scores[strong])


def test_scores_that_flicker_around_a_threshold_flicker_less():
    rng = np.random.default_rng(0)
    for mean_score, most in ((0.32, 0.5), (0.45, 0.1)):
        scores = np.where(rng.random(300) < 0.9, rng.normal(mean_score, 0.1, 300), 0)
        frames = [found((BOX, s)) if s > 0.05 else NOTHING for s in scores]
        shown = np.array([one.scores.max(initial=0) > 0.3 for one in results(frames)])
        given = scores > 0.3
        before, after = ((one[1:] != one[:-1]).sum() for one in (given, shown))
        assert before > 50 and after < most * before


def test_identities_and_boxes_survive_five_missed_detections():
    frames = [found((BOX, 0.8))] * 10 + [NOTHING] * 5 + [found((BOX, 0.8))] * 5
    for one in results(frames):
        assert one.ids.tolist() == [0] and one.scores[0] > 0.3
        assert one.boxes[0] == pytest.approx(BOX, abs=1e-3)


def test_objects_end_when_they_are_no_longer_detected():
    shown = results([found((BOX, 0.8))] * 10 + [NOTHING] * 40)
    scores = [one.scores.max(initial=0) for one in shown]
    assert (np.diff(scores[9:]) <= 0).all()
    assert scores[-1] == 0 and len(shown[-1].ids) == 0
    # at the first missed key frame, after nine tracked ones
    sparse = results([found((BOX, 0.8)), *[None] * 9, NOTHING])
    assert [len(one.ids) for one in sparse] == [1] * 11
    assert sparse[9].scores[0] == pytest.approx(0.8) and sparse[10].scores[0] < 0.2


@pytest.mark.parametrize(
    ('missed', 'shift', 'label', 'identity'),
    [(40, 0, 0, 0), (61, 0, 0, 1), (40, 60, 0, 0), (40, 90, 0, 1), (40, 0, 1, 1), (3, 60, 0, 0)],
)
def test_an_object_that_returns_to_its_place_has_its_identity(missed, shift, label, identity):
    place = [BOX[0] + shift, BOX[1], BOX[2] + shift, BOX[3]]
    frames = [found((BOX, 0.8)), *[NOTHING] * missed, found((place, 0.8, label))]
    last = results(frames)[-1]
    assert last.ids[0] == identity and len({*last.ids.tolist()}) == len(last.ids)


def test_what_a_light_frame_finds_counts_against_the_key_frame_before():
    tracks = TrackFilter(1)
    results([NOTHING, None], tracks=tracks)
    [score] = report(tracks.step(STILL, SIZE, found((BOX, 0.8)), light=True)).scores
    assert score == pytest.approx(mean([0, 0.8], [0.85**2, Reliability().existence]))
    [score] = results([found((BOX, 0.8))], tracks=tracks)[0].scores
    assert 0.4 < score < 0.8
    first = TrackFilter(1)  # without any key frame
    assert report(first.step(STILL, SIZE, found((BOX, 0.8)), light=True)).scores == [0.8]


def test_tracks_outside_of_the_windows_do_not_count_as_undetected():
    """Of two objects, a light frame looks at the first one, and does not detect it."""
    other, window = [100.0, 30, 140, 90], np.array([[30.0, 20, 90, 100]])
    weak = [95.0, 0, 115, 20]

    def shown(windows):
        tracks = TrackFilter(1, Reliability((1.0, 1.0)))
        tracks.step(STILL, SIZE, found((BOX, 0.8), (other, 0.8), (weak, 0.01)))
        last = report(tracks.step(STILL, SIZE, NOTHING, light=True, windows=windows))
        return dict(zip(last.boxes[:, 0].round(), last.scores, strict=True))

    scores = shown(window)
    assert scores[40] < 0.7 and scores[100] == pytest.approx(0.8) and scores[95] == 0.01
    assert shown(None)[100] < 0.75 and 95 not in shown(None)
    cut = shown(window - [15, 0, 15, 0])  # the first one is not seen whole, either
    assert cut[40] == pytest.approx(0.8)


def test_boxes_that_leave_the_picture_end():
    tracks, step = TrackFilter(1), np.array([9.0, 0])
    box, shown = np.array([100, 40, 150, 90.0]), []
    for number in range(12):
        moved = box + np.tile(step, 2) * number
        detections = found((moved, 0.9)) if number == 0 else None
        shown.append(report(tracks.step(picture(SIZE, [moved]), SIZE, detections)))
    ends = [len(one.ids) for one in shown].index(0)
    assert ends in (7, 8)  # its left side is beyond 160
    assert not any(len(one.ids) for one in shown[ends:])


def test_weak_detections_are_repeated_until_the_next_detections():
    weak = [10.0, 10, 30, 30]
    frames = [found((BOX, 0.8), (weak, 0.03, 1)), None, None, found((BOX, 0.8))]
    *before, last = results(frames)
    for one in before:
        assert one.scores == pytest.approx([0.8, 0.03]) and one.labels.tolist() == [0, 1]
        assert one.ids.tolist() == [0, -1] and one.boxes[1].tolist() == weak
        assert one.sources.tolist() == [[0, 0], [0, 1]]
        assert one.source_boxes.tolist() == [BOX, weak]
    assert last.ids.tolist() == [0] and last.sources.tolist() == [[3, 0]]


def test_results_are_in_descending_order_of_scores():
    boxes = [[x, 10, x + 15, 40] for x in range(0, 150, 25)]
    frame = found(*zip(boxes, [0.2, 0.9, 0.04, 0.5, 0.9, 0.7], strict=True))
    [one] = results([frame])
    assert one.scores.tolist() == [0.9, 0.9, 0.7, 0.5, 0.2, 0.04]
    assert one.sources[:, 1].tolist() == [1, 4, 5, 3, 0, 2]


def test_nothing_at_all():
    for frames in ([None] * 3, [NOTHING] * 3):
        for one in results(frames):
            assert one.boxes.shape == (0, 4) and len(one.scores) == len(one.ids) == 0


def test_detections_that_are_given_do_not_change():
    frame = found((BOX, 0.8), ([10, 10, 30, 30], 0.03))
    copies = [values.copy() for values in frame]
    single = tuple(values.astype(t) for values, t in zip(frame, ('f4', 'f4', 'i8'), strict=True))
    for arrays in (frame, single):
        shown = results([arrays, None, arrays])[-1]
        shown.boxes[:] = shown.source_boxes[:] = -1
    assert all((a == b).all() for a, b in zip(frame, copies, strict=True))
    assert single[0].dtype == np.float32


# Boxes that move


def moving(count, every, noise=0.0, light=None, seed=0):
    """Pictures, true boxes and detections of a box that moves over a background that moves, too."""
    rng, true = np.random.default_rng(seed), []
    for number in range(count):
        x, y = 30 + 40 * np.sin(number / 25) + 20, 30 + 15 * np.cos(number / 17)
        true.append(np.array([x, y, x + 45, y + 55]))
    pictures = [picture(SIZE, [b], (8 * np.sin(n / 9), 0)) for n, b in enumerate(true)]
    frames = []
    for number, box in enumerate(true):
        if number % every == 0:
            frames.append((found((box + rng.normal(0, noise, 4), 0.8)), False))
        elif light is not None:
            frames.append((found((box + rng.normal(0, light, 4), 0.7)), True))
        else:
            frames.append((None, False))
    return pictures, np.array(true), frames


def run(pictures, frames, tracks=None):
    tracks = tracks or TrackFilter(1)
    return [
        report(tracks.step(*one, SIZE, *given))
        for one, given in zip(zip(pictures), frames, strict=True)
    ], tracks


def iou_of(shown, true):
    return np.array(
        [overlaps(one.boxes, box[None]).max() for one, box in zip(shown, true, strict=True)]
    )


def test_boxes_follow_an_object_between_key_frames():
    pictures, true, frames = moving(60, every=20)
    shown, _ = run(pictures, frames)
    assert iou_of(shown, true).min() > 0.9
    repeated = [overlaps(true[n // 20 * 20][None], true[n][None])[0, 0] for n in range(60)]
    assert min(repeated) < 0.6
    assert {*np.concatenate([one.ids for one in shown]).tolist()} == {0}


def test_noisy_boxes_of_every_frame_become_better():
    pictures, true, frames = moving(60, every=1, noise=2.5)
    shown, _ = run(pictures, frames)
    given = [np.abs(frame[0][0][0] - box).mean() for frame, box in zip(frames, true, strict=True)]
    filtered = [np.abs(one.boxes[0] - box).mean() for one, box in zip(shown, true, strict=True)]
    assert np.mean(filtered[5:]) < 0.6 * np.mean(given[5:])


def test_light_boxes_at_random_get_no_weight():
    pictures, true, frames = moving(100, every=5, noise=0.3, light=6.0)
    _, tracks = run(pictures, frames)
    assert tracks.reliability.geometry <= 0.06
    without, _ = run(pictures, [(one if not light else None, False) for one, light in frames])
    learned, _ = run(pictures, frames, TrackFilter(1, reliability=tracks.reliability))
    errors = [
        [np.abs(one.boxes[0] - box).mean() for one, box in zip(each, true, strict=True)]
        for each in (learned, without)
    ]
    assert np.mean(errors[0]) < np.mean(errors[1]) + 0.5


def test_light_boxes_that_are_right_get_a_high_weight(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        'semidff.filter.tracks.move_boxes',
        moved(lambda count: (rng.normal(0, 2, (count, 2)), 0.0, 4.0)),
    )
    frames = [(found((BOX, 0.8)), number % 5 > 0) for number in range(100)]
    shown, tracks = run([STILL] * 100, frames)
    assert tracks.reliability.geometry > Reliability().geometry
    poor, _ = run([STILL] * 100, [(None if light else one, False) for one, light in frames])
    errors = [
        np.mean([np.abs(one.boxes[0] - BOX).mean() for one in each[20:]]) for each in (shown, poor)
    ]
    assert errors[0] < 0.8 * errors[1]


def test_reliability_is_not_learned_if_it_shall_not_be():
    pictures, _, frames = moving(30, every=5, light=6.0)
    _, tracks = run(pictures, frames, TrackFilter(1, learn=False))
    begin = Reliability()
    assert tracks.reliability.geometry == begin.geometry
    assert tracks.reliability.existence == begin.existence


@pytest.mark.parametrize('every', [1, 5, 10])
def test_boxes_grow_with_an_object_that_approaches(every):
    """From a side of 24 pixels to one of 80, in 60 frames."""
    pictures, true, frames = [], [], []
    scene, look = picture(SIZE), picture((200, 200), seed=4)
    for number in range(60):
        side = 24 * 1.02**number
        box = np.array([80 - side / 2, 64 - side / 2, 80 + side / 2, 64 + side / 2])
        matrix = np.array([[side / 200, 0, box[0]], [0, side / 200, box[1]]])
        image = scene.copy()
        cv2.warpAffine(look, matrix, SIZE[::-1], dst=image, borderMode=cv2.BORDER_TRANSPARENT)
        pictures.append(image)
        true.append(box)
        frames.append((found((box, 0.8)) if number % every == 0 else None, False))
    shown, _ = run(pictures, frames)
    assert iou_of(shown, true).min() > 0.88


def test_residuals_of_one_direction_end_the_inertia():
    """A box of which detections say that it grows, and whose points do not show it."""
    grown = [np.array(BOX) + n * np.array([-1, -1, 1, 1]) * 0.5 for n in range(60)]
    shown = results([found((box, 0.8)) for box in grown])
    assert iou_of(shown[10:], grown[10:]).min() > 0.95
    rng = np.random.default_rng(0)
    noisy = [np.array(BOX) + rng.normal(0, 1.5, 4) for _ in range(200)]
    shown = results([found((box, 0.8)) for box in noisy])
    filtered = [one.boxes[0] for one in shown]
    errors = [np.abs(np.array(of[20:]) - BOX).mean() for of in (noisy, filtered)]
    assert errors[1] < 0.5 * errors[0]


def test_what_predicts_detections_worse_than_they_themselves_is_not_reported(monkeypatch):
    """The flow is wrong: all boxes are led away from where they are found again."""
    tracks = TrackFilter(1)
    monkeypatch.setattr('semidff.filter.tracks.camera_motion', lambda *_: np.eye(2, 3))
    monkeypatch.setattr(
        'semidff.filter.tracks.move_boxes',
        moved(lambda count: (2.0, 0.0, 0.0)),
    )
    for number in range(90):
        estimate = tracks.step(STILL, SIZE, found((BOX, 0.8)) if number % 2 == 0 else None)
        if number == 10:
            assert tracks.trusted and estimate.boxes[0, 0] > BOX[0] + 0.5
    assert not tracks.trusted and estimate.boxes[0] == pytest.approx(BOX)


# What is given


@pytest.mark.parametrize('labels', [[-1], [2], [0.5], [0, 1]])
def test_labels_that_are_none(labels):
    with pytest.raises(ValueError):
        TrackFilter(2).step(STILL, SIZE, ([BOX], [0.8], labels))


def test_lists_and_other_types():
    tracks = TrackFilter(2)
    table = np.array([[*BOX, 0.8, 1.0]])
    for given in (
        (table[:, :4], table[:, 4], table[:, 5]),
        ([], [], []),
        (np.array([]), np.array([]), np.array([])),
        ([BOX], [0.8], [1]),
    ):
        estimate = tracks.step(STILL, SIZE, given)
        assert estimate.boxes[0] == pytest.approx(BOX, abs=1e-3)


def test_pictures_of_another_size():
    tracks = TrackFilter(1)
    tracks.step(STILL, SIZE, found((BOX, 0.8)))
    [box] = report(tracks.step(picture((64, 80)), SIZE)).boxes
    assert box.tolist() == BOX


# Both ways


def test_combined_estimates():
    """Linked objects are weighted by what is known of them, scores of others halved."""
    one_id = iter([7]).__next__
    far = [100.0, 90, 130, 120]
    forward, backward = TrackFilter(1), TrackFilter(1)
    for _ in range(3):
        one = forward.step(STILL, SIZE, found((BOX, 0.8)))
    other = backward.step(STILL, SIZE, found((np.array(BOX) + 3, 0.5), (far, 0.4)))
    both = combine(one, other, {}, one_id)
    weights, evidence = [one.weights[0], other.weights[0]], [one.evidence[0], other.evidence[0]]
    assert both.boxes[0] == pytest.approx(mean([one.boxes[0], other.boxes[0]], weights))
    assert both.scores[:, 0, 0] == pytest.approx([mean([0.8, 0.5], evidence), 0.2])
    assert both.boxes[1].tolist() == far and both.ids.tolist() == [0, 7]
