"""Focus frames: canvases by hand, and what a detector finds on them."""

from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from semidff.filter.links import overlaps
from semidff.inference.bounded import detect_bounded
from semidff.inference.methods.canvas import GRAY, Canvas, canvas_sizes, lay_out, margins_of
from tests.tiny.pictures import picture
from tests.tiny.stages import frame_of, live, results, stages
from tests.tiny.videos import batch

FRAME, INPUT = (192, 256), (384, 512)
SCALE = 2.0, 2.0
SIZES = canvas_sizes(INPUT)
AGE_1 = margins_of(np.ones(1), stride=8)


def boxes_of(*corners):
    return np.array(corners, float).reshape(-1, 4)


def test_sizes_are_shares_of_the_input():
    assert SIZES == [(96, 128), (160, 160), (224, 224)]
    assert canvas_sizes((40, 40)) == [(32, 32)]


def test_windows_have_a_margin_and_end_at_the_border():
    """Of a tenth of the height, and of 6.5 pixels of the canvas, 3.25 of the frame, otherwise."""
    canvas = lay_out(boxes_of([100, 60, 120, 104]), np.ones(1), AGE_1, SCALE, FRAME, SIZES)
    assert canvas.windows.tolist() == [[96, 55, 124, 109]]
    assert canvas.size == SIZES[1] and canvas.places.tolist() == [[0, 0, 56, 108]]
    corner = lay_out(boxes_of([-5, 2, 20, 30]), np.ones(1), AGE_1, SCALE, FRAME, SIZES)
    assert corner.windows.tolist() == [[0, 0, 24, 34]]
    assert corner.seen.tolist() == [[-np.inf, -np.inf, 24, 34]]
    assert lay_out(boxes_of([300, 2, 320, 30]), np.ones(1), AGE_1, SCALE, FRAME, SIZES) is None


def test_large_objects_are_reduced():
    """A side of 256 pixels of the input is one of 128."""
    canvas = lay_out(boxes_of([60, 30, 188, 94]), np.ones(1), AGE_1, SCALE, FRAME, SIZES)
    window, place = canvas.windows[0], canvas.places[0]
    assert (place[2:] - place[:2] == np.round((window[2:] - window[:2]) * 1.0)).all()


def test_windows_lie_apart_and_the_least_gain_is_left_out():
    rng = np.random.default_rng(0)
    for _ in range(50):
        count = rng.integers(1, 12)
        corners = rng.uniform(0, [220, 150], (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(8, 40, (count, 2))], 1)
        gains = rng.uniform(0.1, 1, count)
        canvas = lay_out(boxes, gains, margins_of(np.ones(count), stride=8), SCALE, FRAME, SIZES)
        places = canvas.places
        assert not np.triu(overlaps(places.astype(float), places.astype(float)), 1).any()
        assert (places >= 0).all() and (places[:, 2:] <= canvas.size[::-1]).all()
        best = boxes[gains.argmax()].clip(0, FRAME[::-1] * 2)
        whole = (best[:2] >= canvas.windows[:, :2]) & (best[2:] <= canvas.windows[:, 2:])
        assert whole.all(1).any()


def test_crowds_do_not_have_the_largest_canvas():
    """It is used where it has all objects, or one that is larger than the others."""

    def size_of(*boxes, gains, ages):
        room = margins_of(np.array(ages), stride=8)
        return lay_out(boxes_of(*boxes), np.array(gains), room, SCALE, FRAME, SIZES).size

    corners = [(x, y) for x in (8, 72, 136, 200) for y in (8, 56, 104, 152)]
    crowd = [(x, y, x + 24, y + 24) for x, y in corners]
    assert size_of(*crowd[:8], gains=[1] * 8, ages=[1] * 8) == SIZES[2]
    assert size_of(*crowd, gains=[1] * 16, ages=[1] * 16) == SIZES[1]
    large = 80, 48, 176, 144  # with the margins of its age, larger than the second canvas
    assert size_of(large, *crowd, gains=[20, *[1] * 16], ages=[20, *[1] * 16]) == SIZES[2]


def test_objects_side_by_side_share_a_window():
    boxes = boxes_of([20, 20, 40, 60], [42, 20, 62, 60], [200, 120, 220, 160])
    canvas = lay_out(boxes, np.ones(3), margins_of(np.ones(3), stride=8), SCALE, FRAME, SIZES)
    assert sorted(canvas.windows[:, 0].tolist()) == [16, 196]


def test_boxes_return_to_the_frame():
    """An object in two windows is one box, that of the higher score; boxes that a window cuts, and
    those between windows, are left out, but not at the border of the frame."""
    windows, places = [[0, 10, 60, 60], [30, 10, 100, 60]], [[0, 0, 120, 100], [124, 0, 264, 100]]
    canvas = Canvas((128, 288), (192, 256), np.array(windows), np.array(places))
    boxes = boxes_of(
        [70, 20, 110, 80],  # in the first window: 35, 20, 55, 50
        [134, 20, 174, 80],  # the same in the second
        [0, 20, 30, 60],  # at the border of the frame
        [160, 0, 200, 60],  # cut at the top
        [121, 30, 123, 50],  # between the windows
        [134, 22, 176, 80],  # another class
    )
    scores, labels = np.array([0.8, 0.9, 0.7, 0.6, 0.5, 0.4]), np.array([0, 0, 0, 0, 0, 1])
    kept, located, numbers = canvas.whole(boxes, scores, labels)
    assert kept.tolist() == [1, 2, 5] and numbers.tolist() == [1, 0, 1]
    assert located[:2].tolist() == [[35, 20, 55, 50], [0, 20, 15, 40]]


class Detector:
    """Gives the boxes of squares that it recognizes by their gray level, with masks."""

    LEVELS = 200, 240

    def __init__(self, stride: float = 8) -> None:
        self.model, self.sizes = nn.Conv2d(3, 3, 1), []
        self.model.num_classes = 2
        self.model.spatial = SimpleNamespace(prediction='pred_instances', detector=self.model)
        self.model.spatial.probe_levels = lambda: ((1, 1), (stride, 2 * stride))
        self.model.preprocess = lambda frames, samples: (torch.stack(frames), samples)

    def prepare(self, key, predict):
        predict(self)

    def predict_key(self, inputs, samples):
        (image,), (sample,) = inputs.numpy(), samples
        self.sizes.append(image.shape[1:])
        masks = [image[0] == level for level in self.LEVELS if (image[0] == level).any()]
        boxes = []
        for mask in masks:
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        count = len(boxes)
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            scores=torch.full((count,), 0.9),
            labels=torch.arange(count),
            masks=torch.from_numpy(np.array(masks).reshape(count, *image.shape[1:])),
        )
        return samples, None


def video(frames: int, levels=Detector.LEVELS) -> list[dict]:
    """Two squares that move, the second one in the opposite direction."""
    batches = []
    for index in range(frames):
        image = np.minimum(picture(FRAME), 190)
        for level, x, y in zip(levels, (20 + 2 * index, 200 - 2 * index), (40, 120), strict=True):
            image[y : y + 24, x : x + 24] = level
        info = dict(frame_id=index, ori_shape=FRAME, img_shape=FRAME, scale_factor=(1.0, 1.0))
        inputs = torch.from_numpy(np.stack([image] * 3))
        batches.append(dict(inputs=[inputs], data_samples=[DetDataSample(metainfo=info)]))
    return batches


def test_objects_are_found_on_canvases_with_their_masks():
    detector = Detector()
    run = stages(detector, 'focus', 8, light_every=2)
    detector.sizes.clear()
    for index, found in enumerate(live(run, video(8))):
        boxes = found.pred_instances.bboxes[found.pred_instances.labels.argsort()]
        x = np.array([20 + 2 * index, 200 - 2 * index])
        true = np.stack([x, [40, 120], x + 24, [64, 144]], 1).astype(float)
        assert np.diag(overlaps(boxes.numpy().astype(float), true)).min() > 0.9
        masks = found.pred_instances.masks[found.pred_instances.labels.argsort()]
        assert masks.shape[1:] == FRAME
        for mask, (x1, y1, x2, y2) in zip(masks.numpy(), true.astype(int), strict=True):
            assert mask[y1:y2, x1:x2].mean() > 0.9 and mask.sum() < 24 * 24 * 1.15
    prepared = [FRAME, *canvas_sizes(FRAME)]
    assert detector.sizes[: len(prepared)] == prepared
    light = detector.sizes[len(prepared) + 1 :]
    assert len(light) == 3 and set(light) <= set(prepared[1:])


@pytest.mark.parametrize(('stride', 'top'), [(4, 33), (8, 33), (16, 6)])
def test_coarse_features_have_wider_margins(stride, top):
    """A square at y = 40 has 6.5 pixels above it, or two cells and 1.5."""
    _, light = stages(Detector(stride), 'focus', 2).run(map(frame_of, video(2)))
    assert light.windows[:, 1].min() == top


def test_stages_are_built_without_computing():
    """Processes that filter are forked, and would wait for PyTorch's threads for ever."""
    detector = Detector()
    detector.model.spatial.probe_levels = lambda: pytest.fail('runs the detector')
    stages(detector, 'focus', 2)


def test_without_objects_nothing_is_detected():
    detector = Detector()
    found = live(stages(detector, 'focus', 4), video(4, levels=(0, 0)))
    assert [len(one.pred_instances) for one in found] == [0] * 4
    assert detector.sizes[-1] == FRAME


def test_a_canvas_of_one_window_is_detected_as_its_crop(model):
    run, canvases = stages(model, 'focus', 4), []
    key, frame = run.schedule(frame_of(batch(0, index)) for index in range(2))

    def predict(inputs, samples):
        canvases.append(inputs)
        (result,), _ = model.predict_key(inputs, samples)
        if len(canvases) == 1:
            result.pred_instances = result.pred_instances[:1]
        return [result], None

    run.method.executor = SimpleNamespace(model=model, predict_key=predict)
    run.method.key([key])
    (found,) = run.method.non_key([frame])
    height, width = frame.inputs.shape[1:]
    corners = np.clip(frame.windows[0], 0, [width, height, width, height])
    x1, y1, x2, y2 = corners.astype(int).tolist()
    crop = torch.full_like(canvases[1], GRAY)
    crop[0, :, : y2 - y1, : x2 - x1] = frame.inputs[:, y1:y2, x1:x2]
    assert torch.equal(canvases[1], crop)
    size = tuple(crop.shape[2:])
    info = dict(frame_id=1, ori_shape=size, img_shape=size, scale_factor=(1.0, 1.0))
    inputs, samples = model.preprocess(list(crop), [DetDataSample(metainfo=info)])
    (expected,) = model.predict_key(inputs, samples)[0]
    boxes = expected.pred_instances.bboxes.numpy() + [x1, y1, x1, y1]
    boxes = np.clip(boxes, [x1, y1, x1, y1], [x2, y2, x2, y2])
    own = found.pred_instances.bboxes.numpy()
    assert len(own) and (np.abs(boxes[:, None] - own).max(-1) < 1e-3).any(0).all()


def test_chunks_of_an_interval_are_detected_in_their_order(model):
    """Each looks where the detections of the one before it were."""
    batches = [batch(0, index) for index in range(22)]
    expected = live(stages(model, 'focus', 11), batches)
    found = results(stages(model, 'focus', 11), batches, workers=3, chunk=2)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.pred_instances.bboxes, other.pred_instances.bboxes)


@pytest.mark.parametrize('busy', [0, 3])
def test_a_busy_detector_leaves_the_windows_of_the_finished_key_frame(model, busy):
    """Light frames look where the tracks of the last finished key frame are."""
    waiting, run, looked = deque(), stages(model, 'focus', 4), {}

    def submit(function, *arguments):
        done = SimpleNamespace(done=lambda: task not in waiting)
        done.result = lambda: task in waiting and (waiting.remove(task), function(*arguments))
        waiting.append(task := (done, function, arguments))
        return done

    for frame in detect_bounded(
        (frame_of(batch(0, index)) for index in range(12)), run, SimpleNamespace(submit=submit)
    ):
        looked[frame.index] = frame.windows
        if waiting and frame.index % 4 >= busy:
            waiting[0][0].result()
    expected = [frame.windows for frame in run.run(frame_of(batch(0, i)) for i in range(4))]
    for index in range(4):
        assert np.array_equal(looked[index], expected[index])
    assert sum(windows is not None for windows in looked.values()) >= 8
