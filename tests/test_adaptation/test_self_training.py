"""A detector that learns what it finds itself, filtered both ways."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from semidff.adaptation import AdaptError, self_training
from semidff.adaptation.config import detector_config
from semidff.adaptation.job import Job
from semidff.apis import VideoInferencer
from semidff.datasets import CocoVIDDataset, DrawInstances
from semidff.datasets.video_list import VideoInfo
from semidff.evaluation import Detections, GroundTruth
from semidff.evaluation.metrics import MIN_SCORE, class_ap
from semidff.points.clips import Clip
from tests.damaged_video import write_video
from tests.tiny.videos import CLASSES, SIZE, write_detector


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp('project')
    write_detector(folder)
    write_video(folder / 'a.mp4', 30, size=SIZE)
    return folder


@pytest.fixture(scope='module')
def teacher(project):
    options = dict(method='frame', device='cpu', show_progress=False, filter='both')
    return VideoInferencer(project / 'detector.py', project / 'one.pth', runtime='torch', **options)


def test_clips_are_spread_over_what_is_trained_on():
    videos = [VideoInfo(name, name, length, *SIZE) for name, length in (('a', 1000), ('b', 130))]
    clips = self_training.training_clips(videos, 0.5, 300)
    assert [clip.path for clip in clips].count('a') == 4
    assert clips[-1] == Clip('b', 61, 65)
    assert max(clip.stop for clip in clips if clip.path == 'a') == 500
    whole = self_training.training_clips(videos, 1.0, 10_000)
    assert sum(clip.stop - clip.start for clip in whole) == 1130


def test_labels_are_the_filtered_boxes(project, teacher, tmp_path):
    clips = [
        Clip(str(project / 'a.mp4'), 0, 20),
        Clip(str(project / 'a.mp4'), 20, 30),
    ]
    executor = teacher.stages.method.executor
    file = self_training.label_clips(executor, clips, tmp_path)
    dataset = CocoVIDDataset(ann_file=str(file), metainfo=dict(classes=CLASSES), test_mode=True)
    assert len(dataset) == 30
    frames = [sample.pred_instances for sample in teacher(str(project / 'a.mp4'), max_frames=20)]
    frames += [sample.pred_instances for sample in teacher([*clips[1].images()])]
    frames = [found[found.scores >= MIN_SCORE] for found in frames]
    certain = np.median(np.concatenate([found.scores for found in frames]))
    for index, found in enumerate(frames):
        labels = dataset.get_data_info(index)['instances']
        boxes = np.array([one['bbox'] for one in labels]).reshape(-1, 4)
        np.testing.assert_allclose(boxes, found.bboxes, atol=1e-3)
        scores = np.minimum((found.scores.numpy() - MIN_SCORE) / (certain - MIN_SCORE), 1)
        np.testing.assert_allclose([one['score'] for one in labels], scores, atol=1e-5)
    before = file.read_text()
    (tmp_path / '0001' / self_training.FOUND).unlink()
    known = (tmp_path / '0000' / self_training.FOUND).stat().st_mtime_ns
    self_training.label_clips(executor, clips, tmp_path)
    assert file.read_text() == before  # what is there is not computed again
    assert (tmp_path / '0000' / self_training.FOUND).stat().st_mtime_ns == known


def test_instances_are_drawn_by_their_scores():
    np.random.seed(0)
    scores = 0.2, 0.7, 1.0
    results = dict(instances=[dict(score=score) for score in scores])
    drawn = [DrawInstances()(results)['instances'] for _ in range(2000)]
    shares = [sum(one in own for own in drawn) / 2000 for one in results['instances']]
    np.testing.assert_allclose(shares, scores, atol=0.03)
    assert DrawInstances()(dict(instances=[dict(score=0.0)])) is None


@pytest.mark.parametrize(
    'name',
    [
        'yolox/yolox_nano_8xb8-300e_coco',
        'rtmdet/rtmdet_tiny_8xb32-300e_coco',
        'ssd/ssd300_coco',
        'detr/detr_r50_8xb2-150e_coco',
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
    ],
)
def test_stock_detectors_are_trained_at_sizes_of_their_test_pipeline(name):
    own = detector_config(f'mmdet::{name}.py')
    self_training.check_loss(name, own)
    job = Job(Path(), own, name, 'cpu', 1.0)
    config = self_training.student_config(job, 'one.pth', 'a.json', CLASSES)
    self_training.set_iterations(config, 100)
    steps = config.train_dataloader.dataset.pipeline
    kinds = [step.type for step in steps]
    assert kinds[:3] == ['DrawInstances', 'LoadImageFromFile', 'LoadAnnotations']
    (choice,) = (step for step in steps if step.type == 'RandomChoice')
    test = next(step for step in own.detector_dataset.pipeline if 'Resize' in step.type)
    sizes = [one.scale for (one,) in choice.transforms]
    assert tuple(sizes[-1]) == tuple(test.scale)
    assert len(sizes) == 6 and tuple(sizes[0]) == tuple(round(side / 2) for side in test.scale)
    assert config.model.data_preprocessor.pad_size_divisor % 32 == 0
    assert config.param_scheduler[1].T_max == config.train_cfg.max_iters == 100


def test_what_boxes_cannot_train_is_refused(project):
    with pytest.raises(AdaptError, match='cannot be trained on boxes'):
        self_training.check_loss(
            'mask', detector_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
        )


def test_weights_are_those_between():
    before = dict(a=torch.zeros(2), n=torch.tensor(3))
    mean = self_training.mean_weights(before, dict(a=torch.ones(2), n=torch.tensor(5)))
    assert mean['a'].tolist() == [0.5, 0.5] and mean['n'] == 5


def detections(truth: GroundTruth, scores: np.ndarray, error: float, rng, recall: np.ndarray):
    """Boxes of a detector with an error of so many pixels and this recall."""
    boxes = truth.boxes + rng.normal(0, error, truth.boxes.shape)
    found = Detections(truth.frames, truth.labels, scores, boxes)
    return found.select(rng.random(len(boxes)) < recall)


@pytest.mark.parametrize('seed', range(12))
def test_what_is_accepted_is_better_by_labels(seed):
    """Nearly half of the objects are weak; a training on confident boxes may forget them."""
    rng = np.random.default_rng(seed)
    frames, objects = np.repeat(np.arange(20), 8), np.tile(np.arange(8), 20)
    is_weak = objects < 8 * rng.uniform(0.42, 0.47)
    corners = rng.uniform(0, 400, (8, 2))[objects] + frames[:, None]
    truth = GroundTruth(frames, np.zeros(160, int), np.hstack([corners, corners + 60]))
    scores = np.where(is_weak, rng.uniform(0.06, 0.28, 160), rng.uniform(0.4, 0.9, 160))
    recall = np.where(is_weak, 0.6, 0.95)
    reference = detections(truth, scores, 2, rng, recall)
    before = detections(truth, scores, 4, rng, recall)
    outcomes = set()
    for error, of_weak in ((1, 0.9), (6, 0.6), (3, 0.0), (rng.uniform(1, 5), rng.random())):
        after = detections(truth, scores, error, rng, np.where(is_weak, of_weak, 1))
        is_used, _ = self_training.compare(reference, {1.0: before}, {1.0: after}, 20, ('a',))
        old, new = (class_ap(truth, found, 1)[1]['AP'][0] for found in (before, after))
        assert not is_used or new > old
        outcomes.add(is_used)
    assert outcomes == {True, False}


def test_a_detector_that_loses_confident_boxes_or_a_class_is_not_used():
    rng, everything = np.random.default_rng(0), np.ones(160)
    corners = rng.uniform(0, 400, (160, 2))
    boxes, labels = np.hstack([corners, corners + 60]), np.arange(160) // 100
    truth = GroundTruth(np.arange(160) // 8, labels, boxes)
    before = detections(truth, np.full(160, 0.5), 4, rng, everything)
    after = detections(truth, np.full(160, 0.5), 1, rng, everything)

    def reasons(found):
        return self_training.compare(before, {1.0: before}, {1.0: found}, 20, ('a', 'b'))[1]

    weaker = replace(after, scores=np.full(160, 0.2))
    assert 'loses confident boxes' in reasons(weaker) and 'loses' not in reasons(after)
    shifted = replace(after, boxes=after.boxes + 20 * labels[:, None])
    assert 'b falls (60 boxes)' in reasons(shifted) and 'b falls' not in reasons(before)


def test_classes_without_names_are_numbers(teacher):
    executor = teacher.stages.method.executor
    assert self_training.class_names_of(executor) == CLASSES
    names = executor.model.dataset_meta
    executor.model.dataset_meta = dict(classes=())
    assert self_training.class_names_of(executor) == ('0', '1')
    executor.model.dataset_meta = names
