"""A detector that is trained on what a detector finds in unlabeled videos with time on its side.

The teacher is a detector whose boxes are filtered both ways in time (:mod:`semidff.filter`): it knows what comes before
and after a frame. The student, the same detector or a faster one, learns to find these boxes on single frames, at all
input sizes.
"""

import copy
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.analysis.runs import REFERENCE, OperatingPoint, detect_clips, runs_of
from semidff.analysis.speed import timed
from semidff.datasets.video_list import VideoInfo, load_videos
from semidff.engine.launch import train
from semidff.evaluation import Detections
from semidff.evaluation.metrics import FIGURES, MIN_SCORE, agreement, class_ap, confident
from semidff.inference.executors import Executor
from semidff.inference.loading import load_model, scaled
from semidff.models.precision import to_channels_last
from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.checkpoint import detector_digest, read_checkpoint, save_weights
from semidff.utils.configs import read_config
from semidff.utils.files import file_state
from semidff.utils.image_detectors import imports_of, transform_name
from semidff.utils.model_building import num_classes_of
from semidff.utils.tables import markdown_table

from .config import (
    config_digest,
    detector_config,
    untrained_config,
    write_config,
    write_detector,
)
from .plan import SCALES, PlanError
from .planner import build_image_detector
from .survey import seconds_of
from .validation import check_clips
from .videos import hold_back, write_list

LEAST_BOXES, LARGEST_LOSS = 50, 0.03
"""Boxes of a class in the held-back frames from which it is judged, and AP_50 that it may lose."""

FOUND = 'found.json'
_CLIP, _AT_ONCE = 61, 4  # frames of a clip; clips that are labeled at once
_BATCH_SIZE, _LEAST = 4, 100  # images of an iteration; iterations
_TIME = 0.4  # share of the time of an adaptation, a quarter of it for labels
_LABELED, _JUDGED = (120, 2000), 200  # frames
_FILTERING = 0.1  # seconds of a frame that is labeled, beside the detector
_WHEN = 'before', 'after'
_SCHEDULE = 'semidff::_base_/schedules/adam_student.py'


class Taught(NamedTuple):
    """Result of :func:`teach`.

    Attributes:
        detector, checkpoint: What an adaptation goes on with.
        teacher: Folder of the detector with which it is compared; None: itself.
        details: Section of the report.
    """

    detector: str
    checkpoint: str
    teacher: Path | None
    details: str

    def load_teacher(self, *options: str) -> Executor | None:
        """Load the teacher, see :func:`load_detector`."""
        return self.teacher and load_detector(self.teacher, *options)


def load_detector(
    folder: Path, device: str, runtime: str = 'torch', cache: str | None = None
) -> Executor:
    """Load an image detector from ``config.py`` and ``detector.pth``."""
    config, weights = read_config(folder / 'config.py'), str(folder / 'detector.pth')
    return load_model(config, weights, device, 'frame', runtime=runtime, cache=cache)


def teach(
    detector: str,
    checkpoint: str,
    student: Sequence[str],
    also: str | Path | None,
    given: Sequence[str],
    out: Path,
    device: str,
    seed: int,
    minutes: float,
    progress: Callable[[str], None] = lambda text: None,
) -> Taught:
    """Train a detector on what another one, or itself, finds in videos with time on its side.

    Args:
        student: Config, or name, and checkpoint of the detector that is trained.
        also: COCO json of labeled images that it is trained on, too.
        given: The videos.
        out: Folder of the adaptation; what was done before is not repeated.
        minutes: Time of the whole adaptation, of which this takes two fifths.
    """
    start, folder = time.monotonic(), out / 'student'
    own, pupil = detector_config(detector), detector_config(student[0])
    key = [detector_digest(checkpoint), config_digest(own), detector_digest(student[1])]
    key += [config_digest(pupil), also and [os.path.abspath(also), *file_state(also)], given]
    file, result = folder / 'key.json', folder / 'result.json'
    if file.is_file() and read_json(file) != json.loads(json.dumps(key)):
        raise PlanError(f'{out}: its detector was trained with other arguments; give another --out')
    write_json(key, file)
    if not result.is_file():
        for one in {detector: own, student[0]: pupil}.items():
            build_image_detector(*one)
        check_loss(student[0], pupil)
        places = out / 'teacher', folder / 'before'
        for place, config, weights in zip(
            places, (own, pupil), (checkpoint, student[1]), strict=True
        ):
            write_detector(config, weights, place)
            write_config(untrained_config(config), place / 'config.py')
        # Exporting graphs of all sizes takes longer than they save.
        teacher, before = (load_detector(place, device) for place in places)
        if class_names_of(teacher) != class_names_of(before):
            raise PlanError(f'{student[0]}: has other classes than {detector}, or another order')
        listed = write_list(out / 'videos' / 'found.txt', given)
        trained, held_back, portion = hold_back(load_videos(listed))
        paths = [video.path for video in held_back]
        paths, clips, scales = check_clips(own, teacher, paths, portion, _JUDGED)
        if not (folder / 'training.py').is_file():
            seconds = seconds_of(own, teacher, paths)
            parts = trained, portion, also, min(scales), seconds, start, 60 * _TIME * minutes
            _plan_training(pupil, teacher, folder, device, seed, *parts, progress)
        if not (folder / 'training' / 'last.pth').is_file():
            train(folder / 'training.py', folder / 'training')
        write_config(untrained_config(pupil), folder / 'config.py')
        files = places[1] / 'detector.pth', folder / 'training' / 'last.pth'
        state = mean_weights(*(read_checkpoint(file)[0] for file in files))
        meta = dict(dataset_meta=before.model.dataset_meta)
        save_weights(folder / 'detector.pth', state, meta)
        after = load_detector(folder, device)
        better, text = judge(teacher, before, after, clips, progress)
        write_json(dict(better=better, text=text), result)
        progress(text.partition('\n')[0])
    known = read_json(result)
    chosen = str(folder / 'detector.pth') if known['better'] else student[1]
    compared = out / 'teacher' if known['better'] or student[0] != detector else None
    return Taught(student[0], chosen, compared, f'## The trained detector\n\n{known["text"]}\n')


def _plan_training(
    pupil: Config,
    teacher: Executor,
    folder: Path,
    device: str,
    seed: int,
    videos: Sequence[VideoInfo],
    portion: float,
    also: str | Path | None,
    least_scale: float,
    seconds: float,
    start: float,
    budget: float,
    progress: Callable[[str], None],
) -> None:
    """Label frames, and write the config of a training that fits into the time.

    Args:
        seconds: Those of a frame with the teacher.
        start: When the time began.
        budget: Seconds.
    """
    frames = int(min(max(budget / 4 / (seconds + _FILTERING), _LABELED[0]), _LABELED[1]))
    clips = training_clips(videos, portion, frames)
    count = sum(clip.stop - clip.start for clip in clips)
    progress(f'labeling {count} frames by the detector, filtered both ways')
    labels = [label_clips(teacher, clips, folder / 'labels', progress), *([also] if also else [])]
    files, weights = [os.path.abspath(file) for file in labels], folder / 'before' / 'detector.pth'
    classes = class_names_of(teacher)
    workers = 0 if device == 'cpu' else min(4, (os.cpu_count() or 1) - 1)
    config = partial(
        student_config, pupil, str(weights), files, classes, least_scale, seed, workers
    )
    each = seconds_of_iteration(config(1), device)
    count = max(int((budget - (time.monotonic() - start)) / each), _LEAST)
    progress(f'training the detector: {count} iterations, about {count * each / 60:.0f} minutes')
    write_config(config(count), folder / 'training.py')


def class_names_of(detector: Executor) -> tuple[str, ...]:
    """Return the names of a detector's classes, numbers where it has none."""
    count = max(num_classes_of(detector.model).values(), default=0)
    return tuple(detector.model.dataset_meta['classes'] or map(str, range(count)))


def training_clips(
    videos: Sequence[VideoInfo], portion: float, frames: int
) -> list[EvaluationClip]:
    """Return clips of about so many frames in all, spread evenly over the videos."""
    parts = [
        EvaluationClip(video.path, start, min(start + _CLIP, stop))
        for video in videos
        for stop in [int(video.length * portion)]
        for start in range(0, stop, _CLIP)
    ]
    count = min(len(parts), max(1, round(frames / _CLIP)))
    return [parts[place] for place in np.linspace(0, len(parts) - 1, count).round().astype(int)]


def label_clips(
    teacher: Executor,
    clips: Sequence[EvaluationClip],
    out: Path,
    progress: Callable[[str], None] = lambda text: None,
) -> Path:
    """Label the frames of clips by a detector that is filtered both ways; what was labeled before is kept.

    A ``score`` is the probability with which :class:`~semidff.datasets.DrawInstances` keeps a box: 0 at the least score
    of a reference box (:data:`~semidff.evaluation.metrics.MIN_SCORE`), 1 from the median of the scores above it on,
    since detectors differ in how high the scores of certain objects are.

    Args:
        out: Receives a folder of images for each clip, and ``labels.json`` in COCO-VID format.

    Returns:
        The path of ``labels.json``.
    """
    classes = class_names_of(teacher)
    folders = [out / f'{number:04d}' for number in range(len(clips))]
    missing = [number for number, one in enumerate(folders) if not (one / FOUND).is_file()]
    for start in range(0, len(missing), _AT_ONCE):
        numbers = missing[start : start + _AT_ONCE]
        runs = {REFERENCE: runs_of(REFERENCE, None, 1)}
        detect_clips(teacher, [clips[number] for number in numbers], runs, lambda text: None)
        for number, found in zip(numbers, runs[REFERENCE][0].found, strict=True):
            _write_frames(folders[number], clips[number], *found)
        progress(f'labels: clip {numbers[-1] + 1} of {len(clips)}')
    images, annotations = [], []
    for number, folder in enumerate(folders):
        for index, (height, width, *columns) in enumerate(read_json(folder / FOUND)):
            name = f'{folder.name}/{index:06d}.jpg'
            image = dict(id=len(images), file_name=name, height=height, width=width)
            images.append(dict(image, video_id=number, frame_id=index))
            for label, score, (x1, y1, x2, y2) in zip(*columns, strict=True):
                box = dict(id=len(annotations), image_id=image['id'], category_id=label + 1)
                box |= dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1))
                annotations.append(dict(box, score=score, iscrowd=0))
    certain = float(np.median([one['score'] for one in annotations] or [1.0]))
    for one in annotations:
        one['score'] = min(1.0, (one['score'] - MIN_SCORE) / max(certain - MIN_SCORE, 1e-6))
    content = dict(
        images=images,
        annotations=annotations,
        videos=[dict(id=number, name=str(number)) for number in range(len(clips))],
        categories=[dict(id=number, name=name) for number, name in enumerate(classes, 1)],
    )
    write_json(content, out / 'labels.json')
    return out / 'labels.json'


def _write_frames(
    folder: Path,
    clip: EvaluationClip,
    counts: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
) -> None:
    """Write the images of a clip, and for each one height, width, labels, scores and boxes."""
    folder.mkdir(parents=True, exist_ok=True)
    ends, frames = np.cumsum(counts)[:-1], []
    found = zip(*(np.split(column, ends) for column in (labels, scores, boxes)), strict=True)
    for index, (image, columns) in enumerate(zip(clip.images(), found, strict=True)):
        cv2.imwrite(str(folder / f'{index:06d}.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        chosen = columns[1] >= MIN_SCORE
        frames.append([*image.shape[:2], *(column[chosen].tolist() for column in columns)])
    write_json(frames, folder / FOUND)  # the last file of the clip


def student_pipeline(own: Config, least_scale: float) -> list[dict]:
    """Return the training pipeline: the resizing of the detector's test pipeline at several scales, flips and colors.

    The detector pads batches; padding of the test pipeline is left out.
    """
    steps = own.detector_dataset['pipeline']
    resizes = [dict(step) for step in steps if 'Resize' in transform_name(step)]
    scales = [float(scale) for scale in np.linspace(0.5, 1, 6) if scale >= least_scale]
    sizes = [scaled(copy.deepcopy(resizes), scale) for scale in scales]
    return [
        dict(type='DrawInstances'),
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='RandomChoice', transforms=sizes),
        dict(type='RandomFlip', prob=0.5),
        dict(
            type='PhotoMetricDistortion',
            brightness_delta=16,
            contrast_range=(0.8, 1.2),
            saturation_range=(0.8, 1.2),
            hue_delta=6,
        ),
        dict(type='PackDetInputs'),
    ]


def _training_model(own: Config) -> dict:
    """Return the model, with batches that are padded as the test pipeline pads, and no further augmentation."""
    model = copy.deepcopy(own.model)
    model.data_preprocessor.pop('batch_augments', None)
    divisor = max(32, model.data_preprocessor.get('pad_size_divisor', 1))
    model.data_preprocessor.update(pad_size_divisor=divisor)
    for step in own.detector_dataset['pipeline']:
        if transform_name(step) == 'Pad' and (value := step.get('pad_val')):
            value = value.get('img', 0) if isinstance(value, dict) else value
            model.data_preprocessor.pad_value = (
                value if isinstance(value, int | float) else value[0]
            )
    return model


def student_config(
    own: Config,
    checkpoint: str,
    labels: Sequence[str],
    classes: Sequence[str],
    least_scale: float,
    seed: int,
    workers: int,
    iterations: int,
) -> Config:
    """Return the whole config of the training, for mmengine's Runner.

    Args:
        own: Result of :func:`~semidff.adaptation.config.detector_config`.
        labels: COCO json files.
        least_scale: Least input size at which the detector works, relative to that of the config.
    """
    config, schedule = map(read_config, ('semidff::_base_/default_runtime.py', _SCHEDULE))
    datasets = [
        dict(
            type='CocoVIDDataset',
            ann_file=str(file),
            metainfo=dict(classes=tuple(classes)),
            filter_cfg=dict(filter_empty_gt=True, min_size=1),
            pipeline=student_pipeline(own, least_scale),
        )
        for file in labels
    ]
    dataset = dict(type='ConcatDataset', datasets=datasets) if len(datasets) > 1 else datasets[0]
    for scheduler in schedule.param_scheduler:
        if scheduler.type == 'CosineAnnealingLR':
            scheduler.T_max = iterations
    config.merge_from_dict(
        dict(
            custom_imports=dict(imports=[*imports_of(own), 'semidff.registry']),
            model=_training_model(own),
            randomness=dict(seed=seed),
            load_from=checkpoint,
            visualizer=dict(name='student'),  # that of stage two has the default name
            train_dataloader=dict(
                batch_size=_BATCH_SIZE,
                num_workers=workers,
                persistent_workers=workers > 0,
                sampler=dict(type='InfiniteSampler'),
                dataset=dataset,
            ),
            optim_wrapper=schedule.optim_wrapper,
            param_scheduler=schedule.param_scheduler,
            custom_hooks=schedule.custom_hooks,
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations),
        )
    )
    return config


def check_loss(name: str, own: Config) -> None:
    """Raise a PlanError if boxes are not enough to train a detector, or its config has no settings of a training."""
    model, box = MODELS.build(_training_model(own)), torch.tensor([[64.0, 64.0, 192.0, 160.0]])
    sample = DetDataSample(metainfo=dict(img_shape=(384, 384), scale_factor=(1.0, 1.0)))
    sample.gt_instances = InstanceData(bboxes=box, labels=torch.zeros(1, dtype=torch.long))
    sample.ignored_instances = InstanceData(bboxes=box[:0], labels=torch.zeros(0, dtype=torch.long))
    batch = dict(inputs=[torch.zeros(3, 384, 384, dtype=torch.uint8)], data_samples=[sample])
    try:
        model(**model.data_preprocessor(batch, training=True), mode='loss')
    except Exception as error:  # whatever the code of any detector raises
        raise PlanError(f'{name}: cannot be trained on boxes: {error!r}') from error


def seconds_of_iteration(config: Config, device: str, rounds: int = 5) -> float:
    """Return the median seconds of an iteration, reading included."""
    model = MODELS.build(config.model).to(device).train()
    to_channels_last(model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    batches, laps = iter(Runner.build_dataloader(config.train_dataloader, seed=0)), []
    for _ in range(rounds):
        with timed(torch.device(device)) as lap:
            model.train_step(next(batches), wrapper)
        laps.append(lap.seconds)
    return float(np.median(laps))


def mean_weights(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean of the weights before and after a training, which forgets less (Wortsman et al., CVPR 2022)."""
    return {
        name: torch.lerp(before[name], weight, 0.5) if weight.is_floating_point() else weight
        for name, weight in after.items()
    }


def judge(
    teacher: Executor,
    before: Executor,
    after: Executor,
    clips: Sequence[EvaluationClip],
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[bool, str]:
    """Compare a student before and after its training, on clips that it was not trained on.

    Ground truth of a frame is what the teacher, filtered both ways, finds on the frames around it: with what it finds
    on the frame itself, the student would be best before the training, since it makes the same mistakes.

    Returns:
        Whether it is better: the mean AP of the input sizes rises, at that of the config neither AP_50 nor AP_75 falls,
        and no class of many boxes loses AP_50. A table and the reason, in Markdown.
    """
    points = [OperatingPoint('frame', 1, scale) for scale in SCALES]
    between = OperatingPoint('track', 2, filter='both').completed()
    runs = {between: runs_of(between, None, 2)}
    detect_clips(teacher, clips, runs, progress)
    # The first one detects on frames 0, 1, 3, 5, ..., the second one on frames 0, 2, 4, ...
    places = np.concatenate([np.arange(len(counts)) for counts, *_ in runs[between][0].found])
    parts = [run.detections() for run in runs[between]]
    parts = [one.select(places[one.frames] % 2 == at) for at, one in enumerate(parts)]
    columns = ([getattr(one, key) for one in parts] for key in vars(parts[0]))
    reference = Detections(*map(np.concatenate, columns))
    reference = reference.select(places[reference.frames] > 0)
    rows, count = [], len(places)
    truth, names = confident(reference, count), class_names_of(teacher)
    found: list[dict[OperatingPoint, Any]] = []
    for name, student in zip(_WHEN, (before, after), strict=True):
        own = {point: runs_of(point, None, 1) for point in points}
        detect_clips(student, clips, own, progress)
        every = {point: several[0].detections() for point, several in own.items()}
        found.append({p: one.select(places[one.frames] > 0) for p, one in every.items()})
        for point, one in found[-1].items():
            figures = agreement(reference, one, count)
            figures |= dict(boxes=(one.scores >= MIN_SCORE).sum() / count)
            rows.append((point.scale, name, figures))
    rows.sort(key=lambda row: -row[0])
    old, new = ([figures for _, when, figures in rows if when == name] for name in _WHEN)
    of_classes = [class_ap(truth, one[points[0]], count, len(names)) for one in found]
    boxes, (lost, kept) = of_classes[0][0], (figures['AP_50'] for _, figures in of_classes)
    fallen = [
        f'{names[label]} ({100 * lost[label]:.1f} to {100 * kept[label]:.1f}, {boxes[label]} boxes)'
        for label in np.flatnonzero((boxes >= LEAST_BOXES) & (kept < lost - LARGEST_LOSS))
    ]
    # Neighboring frames are alike: with AP at the config's size, which counts the last pixels, the detector that made
    # the labels would still be best.
    gain = sum(one['AP'] for one in new) - sum(one['AP'] for one in old)
    better = gain > 0 and all(
        new[0][name] >= old[0][name] - LARGEST_LOSS / 3 for name in ('AP_50', 'AP_75')
    )
    why = 'The trained detector agrees better with the teacher and is used.'
    if not better:
        why = 'The trained detector agrees less with the teacher and is not used.'
    elif fallen:
        why = f'The trained detector is not used, since classes lose AP_50: {", ".join(fallen)}.'
    cells = [
        (f'{scale:g}', name, *(f'{100 * one[key]:.1f}' for key in FIGURES), f'{one["boxes"]:.1f}')
        for scale, name, one in rows
    ]
    table = markdown_table([('input size', 'training', *FIGURES, 'boxes per frame'), *cells])
    text = (
        f'{why}\n\n{table}\n\nAgreement with the teacher on {count} held-back frames, without a filter of the student: '
        'with what the given detector, filtered both ways, finds on the frames around each one. It shows whether the '
        'student has learned what the teacher knows by earlier and later frames. It does not show objects that the '
        'teacher misses, nor what a training forgets of classes that these frames do not have. AP at size 1 favors '
        'the detector before, whose mistakes are those of the teacher.\n'
    )
    return better and not fallen, text
