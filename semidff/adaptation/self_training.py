"""Self-training: a detector is fine-tuned on its own detections in unlabeled videos, filtered both
ways in time.

Filtered boxes know what comes before and after a frame. The detector learns to find them on single
frames, at all input sizes, and keeps the mean of the weights before and after, which forgets less
(Wortsman et al., CVPR 2022).
"""

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from semidff.checkpoints.building import num_classes_of
from semidff.checkpoints.detectors import imports_of, transform_name
from semidff.checkpoints.read import detector_digest, read_checkpoint, save_weights
from semidff.datasets.class_names import class_names
from semidff.datasets.video_list import VideoInfo, load_videos
from semidff.engine.launch import train
from semidff.evaluation import Detections, GroundTruth
from semidff.evaluation.metrics import FIGURES, MIN_SCORE, class_ap
from semidff.inference.executors import Executor
from semidff.inference.loading import load_model, scaled
from semidff.inference.point import Point
from semidff.points.clips import Clip
from semidff.points.measure import agreement
from semidff.points.runs import run_clips
from semidff.points.speed import timed
from semidff.points.table import LEAST_BOXES
from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.configs import read_config

from .config import untrained_config, write_config, write_detector
from .folder import AdaptError, digest, videos_digest
from .job import Job
from .videos import hold_back, readable_clips, write_list

FOUND = 'found.json'
SCALES = 1.0, 0.75, 0.5
LEAST_CLASS_BOXES, LARGEST_LOSS = 50, 0.03
"""Boxes of a class in the held-back frames from which it is judged, and AP that it may lose."""

_NOISE = 0.01  # of AP_50 and AP_75
_CLIP = 61  # frames
_FRAMES, _JUDGED = 1000, 200  # frames of all labeled clips, and of those that judge
_BATCH_SIZE, _LEAST = 4, 100  # images of an iteration; iterations
_TIME = 0.4  # share of the time of an adaptation
_WEAK = 0.05  # score of boxes that must not be forgotten, either
_SCHEDULE = 'semidff::_base_/schedules/adam_student.py'


def train_detector(job: Job, checkpoint: str, videos: Sequence[str]) -> str:
    """Train the detector; return the better weights on held-back videos."""
    folder = job.folder / 'student'
    key = [detector_digest(checkpoint), digest(job.own.to_dict()), videos_digest(videos)]
    result, trained = folder / 'result.json', folder / 'detector.pth'
    known = read_json(result) if result.is_file() else {}
    if known.get('key', key) != key:
        raise AdaptError(
            f'{job.folder}: its detector was trained on other videos, or is another one; give '
            'another --out'
        )
    if 'better' not in known:
        check_loss(job.name, job.own)
        write_json(dict(key=key), result)
        listed = load_videos(write_list(folder / 'videos.txt', videos))
        learned, rest, portion = hold_back(listed)
        clips = readable_clips([video.path for video in rest], portion, _JUDGED)[1]
        write_detector(job.own, checkpoint, folder / 'before')
        given = str(folder / 'before' / 'detector.pth')
        before = _load(job, given)
        if not (folder / 'training.py').is_file():
            labels = label_clips(
                before, training_clips(learned, portion, _FRAMES), folder / 'labels'
            )
            job.log(f'{labels}: frames are labeled')
            config = student_config(job, given, str(labels), class_names_of(before))
            seconds = _TIME * job.seconds_left()
            set_iterations(config, max(int(seconds / _seconds(config, job.device)), _LEAST))
            write_config(config, folder / 'training.py')
        job.log('training the detector')
        train(folder / 'training.py', folder / 'training')
        states = (read_checkpoint(file) for file in (given, folder / 'training' / 'last.pth'))
        (old, meta), (new, _) = states
        classes = dict(classes=class_names(job.own, meta))
        save_weights(trained, mean_weights(old, new), dict(dataset_meta=classes))
        better, why = judge(before, _load(job, str(trained)), clips)
        known = dict(key=key, better=better, why=why)
        write_json(known, result, nan_as_null=True)
    job.log(known['why'])
    return str(trained) if known['better'] else checkpoint


def _load(job: Job, weights: str) -> Executor:
    # Exporting graphs of all sizes takes longer than they save.
    return load_model(untrained_config(job.own), weights, job.device, Point('frame'))


def class_names_of(detector: Executor) -> tuple[str, ...]:
    """Return the names of a detector's classes, numbers where it has none."""
    count = max(num_classes_of(detector.model).values(), default=0)
    return tuple(detector.model.dataset_meta['classes'] or map(str, range(count)))


def training_clips(videos: Sequence[VideoInfo], portion: float, frames: int) -> list[Clip]:
    """Return clips of about so many frames in all, spread evenly over the videos."""
    parts = [
        Clip(video.path, start, min(start + _CLIP, stop))
        for video in videos
        for stop in [int(video.length * portion)]
        for start in range(0, stop, _CLIP)
    ]
    count = min(len(parts), max(1, round(frames / _CLIP)))
    return [parts[place] for place in np.linspace(0, len(parts) - 1, count).round().astype(int)]


def label_clips(teacher: Executor, clips: Sequence[Clip], out: Path) -> Path:
    """Write frames of clips with the detector's filtered boxes, in COCO-VID format; clips that are
    there are kept.

    A ``score`` is the probability with which :class:`~semidff.datasets.DrawInstances` keeps a box:
    0 at the least score of a reference box, 1 from the median of the scores above it on, since
    detectors differ in how high scores are.

    Returns:
        The path of ``labels.json``.
    """
    point, images, annotations = Point('frame', filter='both'), [], []
    for number, clip in enumerate(clips):
        folder = out / f'{number:04d}'
        if not (folder / FOUND).is_file():
            found = run_clips(teacher, [clip], [point])[point][0].detections
            found = found.select(np.flatnonzero(found.scores >= MIN_SCORE))
            folder.mkdir(parents=True, exist_ok=True)
            sizes = []
            for index, image in enumerate(clip.images()):
                cv2.imwrite(str(folder / f'{index:06d}.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
                sizes.append(image.shape[:2])
            write_json(
                dict(sizes=sizes, **vars(found)), folder / FOUND
            )  # the last file of the clip
        content, first = read_json(folder / FOUND), len(images)
        for index, (height, width) in enumerate(content.pop('sizes')):
            place = dict(file_name=f'{folder.name}/{index:06d}.jpg', height=height, width=width)
            images.append(dict(place, id=first + index, video_id=number, frame_id=index))
        for frame, label, score, (x1, y1, x2, y2) in zip(*content.values(), strict=True):
            box = dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), iscrowd=0)
            box |= dict(id=len(annotations), image_id=first + frame, category_id=label + 1)
            annotations.append(dict(box, score=score))
    certain = float(np.median([box['score'] for box in annotations] or [1.0]))
    for box in annotations:
        box['score'] = min(1.0, (box['score'] - MIN_SCORE) / max(certain - MIN_SCORE, 1e-6))
    names = enumerate(class_names_of(teacher), start=1)
    content = dict(
        images=images,
        annotations=annotations,
        videos=[dict(id=number, name=str(number)) for number in range(len(clips))],
        categories=[dict(id=number, name=name) for number, name in names],
    )
    write_json(content, out / 'labels.json')
    return out / 'labels.json'


def training_model(own: Config) -> dict:
    """Return the model with batches that are padded like the test pipeline."""
    model = copy.deepcopy(own.model)
    model.data_preprocessor.pop('batch_augments', None)
    divisor = max(32, model.data_preprocessor.get('pad_size_divisor', 1))
    model.data_preprocessor.update(pad_size_divisor=divisor)
    for step in own.detector_dataset['pipeline']:
        if transform_name(step) == 'Pad' and (value := step.get('pad_val')):
            value = value.get('img', 0) if isinstance(value, dict) else value
            value = value if isinstance(value, int | float) else value[0]
            model.data_preprocessor.pad_value = value
    return model


def student_config(job: Job, checkpoint: str, labels: str, classes: Sequence[str]) -> Config:
    """Return the config of the training: resizing at several scales, flips and colors."""
    config, schedule = map(read_config, ('semidff::_base_/default_runtime.py', _SCHEDULE))
    steps = job.own.detector_dataset['pipeline']
    resizes = [dict(step) for step in steps if 'Resize' in transform_name(step)]
    colors = dict(contrast_range=(0.8, 1.2), saturation_range=(0.8, 1.2))
    pipeline = [
        dict(type='DrawInstances'),
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(
            type='RandomChoice',
            transforms=[
                scaled(copy.deepcopy(resizes), float(s)) for s in np.linspace(min(SCALES), 1, 6)
            ],
        ),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion', brightness_delta=16, hue_delta=6, **colors),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(
        type='CocoVIDDataset',
        ann_file=os.path.abspath(labels),
        metainfo=dict(classes=tuple(classes)),
        filter_cfg=dict(filter_empty_gt=True, min_size=1),
        pipeline=pipeline,
    )
    workers = 0 if job.device == 'cpu' else min(4, (os.cpu_count() or 1) - 1)
    loader = dict(batch_size=_BATCH_SIZE, num_workers=workers, persistent_workers=workers > 0)
    config.merge_from_dict(
        dict(
            custom_imports=dict(imports=[*imports_of(job.own), 'semidff.registry']),
            model=training_model(job.own),
            randomness=dict(seed=0),
            load_from=checkpoint,
            visualizer=dict(name='student'),  # that of stage two has the default name
            train_dataloader=dict(loader, sampler=dict(type='InfiniteSampler'), dataset=dataset),
            optim_wrapper=schedule.optim_wrapper,
            param_scheduler=schedule.param_scheduler,
            custom_hooks=schedule.custom_hooks,
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=_LEAST),
        )
    )
    return config


def set_iterations(config: Config, iterations: int) -> None:
    """Set the length of a training and of its schedule."""
    config.train_cfg.max_iters = iterations
    for scheduler in config.param_scheduler:
        if scheduler.type == 'CosineAnnealingLR':
            scheduler.T_max = iterations


def check_loss(name: str, own: Config) -> None:
    """Raise an AdaptError if the detector cannot be trained on boxes."""
    model, box = MODELS.build(training_model(own)), torch.tensor([[64.0, 64.0, 192.0, 160.0]])
    sample = DetDataSample(metainfo=dict(img_shape=(384, 384), scale_factor=(1.0, 1.0)))
    sample.gt_instances = InstanceData(bboxes=box, labels=torch.zeros(1, dtype=torch.long))
    sample.ignored_instances = InstanceData(bboxes=box[:0], labels=torch.zeros(0, dtype=torch.long))
    batch = dict(inputs=[torch.zeros(3, 384, 384, dtype=torch.uint8)], data_samples=[sample])
    try:
        model(**model.data_preprocessor(batch, training=True), mode='loss')
    except Exception as error:  # whatever the code of any detector raises
        raise AdaptError(f'{name}: cannot be trained on boxes: {error!r}') from error


def _seconds(config: Config, device: str, rounds: int = 5) -> float:
    """Return the median seconds of an iteration, reading included."""
    model = MODELS.build(config.model).to(device).train()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    batches, laps = iter(Runner.build_dataloader(config.train_dataloader, seed=0)), []
    for _ in range(rounds):
        with timed(torch.device(device)) as lap:
            model.train_step(next(batches), wrapper)
        laps.append(lap.seconds)
    return float(np.median(laps))


def mean_weights(before: dict, after: dict) -> dict:
    """Return the mean of the weights before and after a training."""
    return {
        name: torch.lerp(before[name], weight, 0.5) if weight.is_floating_point() else weight
        for name, weight in after.items()
    }


def judge(before: Executor, after: Executor, clips: Sequence[Clip]) -> tuple[bool, str]:
    """Compare a detector before and after its training, on clips that it was not trained on.

    The reference of a frame is what the detector before, filtered both ways, finds on the frames
    around it. With its detections on the frame itself, it would be best before the training, since
    it makes the same mistakes.

    Returns:
        See :func:`compare`.
    """
    between = Point('track', 2, filter='both')
    runs = run_clips(before, clips, [between], phases=2)[between]  # each sees every second frame
    unseen = [run.detections.select(~run.seen[run.detections.frames]) for run in runs]
    columns = ([getattr(part, name) for part in unseen] for name in vars(unseen[0]))
    reference = Detections(*map(np.concatenate, columns))
    judged = ~(runs[0].seen & runs[-1].seen)  # all but the first frame of each clip
    found: list[dict[float, Detections]] = [{}, {}]
    for detector, by_scale in zip((before, after), found, strict=True):
        for scale in SCALES:
            point = Point('frame', scale=scale)
            boxes = run_clips(detector, clips, [point])[point][0].detections
            by_scale[scale] = boxes.select(judged[boxes.frames])
    return compare(reference, *found, len(judged), class_names_of(before))


def compare(
    reference: Detections,
    before: Mapping[float, Detections],
    after: Mapping[float, Detections],
    num_frames: int,
    names: Sequence[str],
) -> tuple[bool, str]:
    """Compare the detections before and after a training, by input size, with those of a reference.

    Returns:
        Whether the detector is better, and why: the mean AP over the input sizes rises; at the
        config's size neither AP_50 nor AP_75 falls, confident boxes stay, no class of many boxes
        loses AP, and AP_50 of weak objects, which a training on confident boxes may forget, stays.
    """
    by_scale = [
        {
            scale: agreement(reference, boxes, num_frames, names=names)
            for scale, boxes in each.items()
        }
        for each in (before, after)
    ]
    means = [np.mean([metrics['AP'] for metrics, _ in each.values()]) for each in by_scale]
    (old, old_classes), (new, new_classes) = (each[1.0] for each in by_scale)
    reasons = ['AP does not rise'] * bool(means[1] <= means[0])
    reasons += [f'{name} falls' for name in FIGURES[1:] if new[name] < old[name] - _NOISE]
    if _confident(after) < LEAST_BOXES * _confident(before):
        reasons.append('it loses confident boxes')
    weak = [_weak_ap(reference, found[1.0]) for found in (before, after)]
    if weak[1] < weak[0] - LARGEST_LOSS:
        reasons.append('it forgets weak objects')
    reasons += [
        f'{name} falls ({boxes} boxes)'
        for name, (boxes, ap) in old_classes.items()
        if boxes >= LEAST_CLASS_BOXES and new_classes[name][1] < ap - LARGEST_LOSS
    ]
    numbers = '; '.join(
        f'{name} {100 * old[name]:.1f} to {100 * new[name]:.1f}' for name in FIGURES
    )
    text = f'the trained detector is {"not " * bool(reasons)}used'
    return not reasons, f'{text}: {", ".join(reasons) or "it is better"} ({numbers})'


def _weak_ap(reference: Detections, found: Detections) -> float:
    """Return AP_50 by the reference's boxes that are not confident; 0 without any."""
    boxes = reference.select(reference.scores >= _WEAK)
    truth = GroundTruth(boxes.frames, boxes.labels, boxes.boxes)
    count = 1 + int(max(boxes.labels.max(initial=0), found.labels.max(initial=0)))
    weights, figures = class_ap(truth, found, count, boxes.scores >= MIN_SCORE)
    return float(weights @ figures['AP_50']) / max(weights.sum(), 1)


def _confident(found: Mapping[float, Detections]) -> int:
    return int((found[1.0].scores >= MIN_SCORE).sum())
