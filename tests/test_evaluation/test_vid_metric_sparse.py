"""VIDMetric with sparse labels, and with several distances from the key frame."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from semidff.evaluation import VIDEvaluator, VIDMetric

BOX = [10, 10, 59, 59]  # x1, y1, x2, y2


@pytest.fixture
def ann_file(tmp_path):
    """Two videos of three frames; frame 2 of each has a cat, the others are not labeled."""
    return write(tmp_path, labeled=(2,))


def write(folder, labeled):
    images, annotations = [], []
    for video in (1, 2):
        for frame in range(3):
            image = dict(id=10 * video + frame, file_name=f'{video}/{frame}.jpg', width=99,
                         height=99, video_id=video, frame_id=frame)  # fmt: skip
            images.append(image if frame in labeled else dict(image, is_labeled=False))
            if frame in labeled:
                annotations.append(dict(id=len(annotations), image_id=image['id'], category_id=1,
                                        bbox=[10, 10, 49, 49], instance_id=0))  # fmt: skip
    content = dict(videos=[dict(id=1, name='a'), dict(id=2, name='b')], images=images,
                   annotations=annotations, categories=[dict(id=1, name='cat')])  # fmt: skip
    (folder / 'val.json').write_text(json.dumps(content))
    return str(folder / 'val.json')


def sample(image, *found, **meta):
    """A result: boxes with their scores."""
    boxes, scores = [box for box, _ in found], [score for _, score in found]
    instances = dict(bboxes=np.array(boxes, float).reshape(-1, 4), scores=np.array(scores, float),
                     labels=np.zeros(len(found), int))  # fmt: skip
    return dict(img_id=image, pred_instances=instances, **meta)


def evaluate(ann_file, samples, size, **options):
    metric = VIDMetric(ann_file, **options)
    metric.dataset_meta = {'classes': ('cat',)}
    metric.process(None, samples)
    return metric.evaluate(size)


def dense(frames=6):
    """A confident detection in every frame, right in the labeled ones."""
    images = [10 * video + frame for video in (1, 2) for frame in range(3)]
    return [sample(image, (BOX, 0.9)) for image in images[:frames]]


def test_frames_without_labels_are_no_false_positives(ann_file):
    assert evaluate(ann_file, dense(), 6)['vid/mAP'] == 1
    alike = json.loads(Path(ann_file).read_text())
    for image in alike['images']:
        image.pop('is_labeled', None)  # the same frames, said to have no cat
    Path(ann_file).write_text(json.dumps(alike))
    # six equal scores, in frame order: no no yes, no no yes; precision 1/3 throughout
    assert evaluate(ann_file, dense(), 6)['vid/mAP'] == pytest.approx(1 / 3)


def test_their_ground_truth_does_not_count_either(ann_file):
    content = json.loads(Path(ann_file).read_text())
    stray = dict(content['annotations'][0], id=99, image_id=10)  # a frame that is not labeled
    content['annotations'].append(stray)
    Path(ann_file).write_text(json.dumps(content))
    assert VIDEvaluator(ann_file).truth.count(1) == 2
    undetected = [sample(s['img_id']) if s['img_id'] == 10 else s for s in dense()]
    assert evaluate(ann_file, undetected, 6, per_video=True)['vid/mAP_of/a'] == 1


def at_distances():
    """Distance 0: both cats found. 1: one found, the other missed. 2: a false box above the cat."""
    off = [70, 70, 90, 90]
    return [
        sample(12, (BOX, 0.9), key_distance=0), sample(22, (BOX, 0.8), key_distance=0),
        sample(12, (BOX, 0.9), key_distance=1), sample(22, key_distance=1),
        sample(12, (BOX, 0.7), (off, 0.9), key_distance=2), sample(22, key_distance=2),
    ]  # fmt: skip


def test_figures_are_means_over_the_distances(ann_file):
    figures = evaluate(ann_file, at_distances(), 2, per_video=True)
    # recall 1; recall 1/2 at precision 1; recall 1/2 at precision 1/2
    expected = [1, 1 / 2, 1 / 4]
    assert [figures[f'vid/mAP_at/{d}'] for d in range(3)] == pytest.approx(expected)
    assert figures['vid/mAP'] == figures['vid/AP_cat'] == pytest.approx(sum(expected) / 3)
    assert figures['vid/mAP_of/a'] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert figures['vid/mAP_of/b'] == pytest.approx((1 + 0 + 0) / 3)
    assert math.isnan(figures['vid/mAP_slow'])  # one frame says nothing about motion
    assert figures == pytest.approx(
        evaluate(ann_file, at_distances()[::-1], 2, per_video=True), nan_ok=True
    )


def test_unlabeled_frames_that_were_paired_all_the_same_do_not_count(ann_file):
    stray = [sample(10, (BOX, 1.0), key_distance=d) for d in range(3)]
    assert evaluate(ann_file, [*stray, *at_distances()], 2)['vid/mAP'] == pytest.approx(7 / 12)
