"""Steps of an adaptation. Each one reads what the folder has, does its part, and writes it.

A step whose product is there is skipped, so that an interrupted command goes on. What was chosen is
``choices.json``, what was measured ``points.json``; report and recommendation are functions of the
latter.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.config import Config
from torch import nn

from semidff.checkpoints.read import detector_digest, read_checkpoint, save_weights
from semidff.datasets.class_names import class_names
from semidff.datasets.vid_json import check_frames_between
from semidff.datasets.video_list import VideoListError, load_videos
from semidff.datasets.video_readers import VideoError
from semidff.engine.launch import train
from semidff.inference.acceleration import Acceleration, accelerate
from semidff.inference.point import Point, grid
from semidff.points.clips import Clip, labeled_clips
from semidff.points.measure import measure, times
from semidff.points.report import report, verdict, write_report
from semidff.points.table import Table, key_of
from semidff.utils.configs import read_config
from semidff.utils.error_messages import FileError
from semidff.utils.progress import time_left
from semidff.utils.threads import default_workers, has_busy_cores

from .config import training_config, untrained_config, write_config, write_detector
from .folder import TABLE, TRAINING, AdaptError, Choices, Network, digest, videos_digest
from .job import Job
from .networks import build_network, candidates, image_detector
from .training import SHORT, check_space, choose_data, choose_iterations, training_seconds
from .videos import hold_back, readable_clips, write_list

SCALES = 1.0, 0.75, 0.5
DENSE_SCALES = *SCALES, 0.35
INTERVALS = 2, 3, 5, 10, 20
TRAINED_INTERVALS = 5, 10, 20
LIGHT_EVERY = 1, 2, 5
FOCUS_INTERVALS, FOCUS_EVERY = (10, 20), (2, 5)
LEAST_SPEEDUP = 1.3

_FOREIGN = 'config.py', 'last.pth', 'detector.pth', 'report.md', 'video.mp4'
_EARLIER = 'choices.json', 'points.json', 'survey.json', 'plan.json', 'student'
_SECONDS, _FRAMES = 60, (60, 300)  # of the detector on the measured clips; fewest and most frames
_PASSES = 2.2  # of the detector at the config's input size, all input sizes together
_SHORT = 30  # minutes, below which trained points are measured at the config's input size alone


def check_folder(folder: Path) -> None:
    """Raise a FileError if a folder holds results that are not those of an adaptation."""
    foreign = [name for name in _FOREIGN if (folder / name).exists()]
    if foreign and not any((folder / name).exists() for name in _EARLIER):
        raise FileError(
            f'{folder / foreign[0]}: exists already, in a folder that is not that of an earlier '
            'adaptation; give another --out'
        )


def check_labels(labels: str | Path, own: Config, checkpoint: str, videos: Sequence[str]) -> None:
    """Check that labels fit the detector, and that their images exist and are of other videos."""
    classes = class_names(own, read_checkpoint(checkpoint)[1])
    clips, _ = labeled_clips(labels, None, classes or None)
    lengths = (len(clip.files) for clip in clips)
    check_frames_between(lengths, str(labels), 'a key-frame interval above 1')
    missing = [file for clip in clips for file in clip.files if not Path(file).is_file()]
    if missing:
        raise FileError(
            f'{labels}: {len(missing)} of its images are missing, {missing[0]} for example; the '
            'folder of the images must be that of the json or, beside it, have its name'
        )
    labeled = {os.path.realpath(os.path.dirname(file)) for clip in clips for file in clip.files}
    if shared := [video for video in videos if os.path.realpath(video) in labeled]:
        raise FileError(
            f'{labels}: {len(shared)} of the labeled videos would be trained on, {shared[0]} for '
            'example; name the other videos alone'
        )


def choose_videos(job: Job, videos: Sequence[str], checkpoint: str, holds_back: bool) -> Choices:
    """Open the videos, hold some back, and choose the clips that are measured; write the detector.

    Choices that were made for another detector or other videos are replaced, unless a training has
    begun with them.

    Raises:
        AdaptError: The folder is that of another adaptation, whose training has begun.
        VideoError, VideoListError: The videos cannot be read, or are too short.
    """
    key = dict(detector=detector_digest(checkpoint), config=digest(job.own.to_dict()))
    key['videos'] = videos_digest(videos)
    known, has_begun = Choices.load(job.folder), any((job.folder / 'training').glob('*.pth'))
    same = known and known.clips and known.key == key
    if same and (known.holds_back or not holds_back):
        if not (job.folder / 'detector.pth').is_file():
            write_detector(job.own, checkpoint, job.folder)
        return known
    if has_begun or (job.folder / 'last.pth').exists():
        raise AdaptError(
            f'{job.folder}: is the adaptation of another detector or of other videos, whose '
            'training has begun; give the same, or another --out'
        )
    image_detector(job.name, job.own)  # refuses what cannot be adapted
    choices = Choices(key, holds_back=holds_back)
    job.folder.mkdir(parents=True, exist_ok=True)
    if not known:
        choices.save(job.folder)  # the folder is that of an adaptation
    (job.folder / 'video.mp4').unlink(missing_ok=True)
    write_detector(job.own, checkpoint, job.folder)
    job.log('opening the videos')
    readable = load_videos(write_list(job.folder / 'training' / 'found.txt', videos))
    trained, rest, choices.portion = (
        hold_back(readable) if holds_back else (readable, readable, 1.0)
    )
    choices.trained, choices.held_back = (
        [video.path for video in part] for part in (trained, rest)
    )
    frames = _frames(job, choices)
    choices.held_back, choices.clips = readable_clips(choices.held_back, choices.portion, frames)
    names = {*choices.trained, *choices.held_back}
    choices.skipped = [path for path in videos if path not in names]
    choices.save(job.folder)
    return choices


def _frames(job: Job, choices: Choices) -> int:
    """Return how many frames are measured: those that the detector processes in about a minute."""
    for path in [*choices.held_back, *choices.trained]:
        with suppress(VideoError):
            seconds = _seconds(job, Clip(path))
            workers = default_workers() if job.device == 'cpu' else 1
            return int(np.clip(_SECONDS * workers / (_PASSES * seconds), *_FRAMES))
    raise VideoListError('no video has frames that can be decoded')


def _seconds(job: Job, clip: Clip) -> float:
    laps = times({0: Point('frame', runtime=job.runtime)}, clip, job.load, rounds=1, frames=2)[0]
    return laps[0].total(1.0)


def untrained_points(**same: Sequence) -> list[Point]:
    """Return the points of methods without training."""
    dense = grid(method=['frame'], scale=DENSE_SCALES, filter=[None, 'causal'], **same)
    moved = dict(method=['track', 'interpolate'], key_interval=INTERVALS, **same)
    others = dict(key_interval=INTERVALS, **same)
    filters = ['causal', 'both']
    small = grid(method=['small'], light_every=LIGHT_EVERY, filter=filters, **others)
    intervals = dict(key_interval=FOCUS_INTERVALS, light_every=FOCUS_EVERY)
    focus = grid(method=['focus'], filter=filters, **intervals, **same)
    return [
        *dense,
        *grid(scale=SCALES, **moved),
        *grid(filter=['both'], **moved),
        *filter(_has_light_frames, small),
        *focus,
        *grid(method=['copy'], **others),
    ]


def _has_light_frames(point: Point) -> bool:
    """Return whether a point differs from *track*."""
    return point.light_every < point.key_interval


def trained_points(scales: Sequence[float], **same: Sequence) -> list[Point]:
    """Return the points of methods with the temporal module."""
    others = dict(key_interval=TRAINED_INTERVALS, **same)
    filters = dict(light_every=LIGHT_EVERY, filter=[None, 'causal', 'both'])
    plain, filtered = (
        grid(method=['propagate'], **each, **others) for each in (dict(scale=scales), filters)
    )
    return [*plain, *filter(_has_light_frames, filtered)]


def measure_points(job: Job, choices: Choices, is_trained: bool) -> Table:
    """Measure the missing points of the table.

    The folder runs the best point of the first clips while the others are measured.
    """
    clips, truth, trained = choices.clips, None, None
    if job.labels:
        classes = job.load(Point('frame', runtime=job.runtime)).model.dataset_meta['classes']
        clips, truth = labeled_clips(job.labels, None, classes or None)
    if is_trained:
        trained = str(job.folder / 'last.pth')
    weights = str(job.folder / 'detector.pth')
    key = key_of(job.own, weights, clips, job.labels, trained, device=job.device)
    table = Table.open(job.folder / TABLE, key)
    if not table.rows:
        count = sum(clip.length() for clip in clips)
        job.log(f'measuring what needs no training, on {count} frames')
        if has_busy_cores():
            job.log(
                'another process is busy: all times will be longer than those of an idle machine'
            )
    same = dict(runtime=[job.runtime])
    points = untrained_points(**same)
    if is_trained:
        points += trained_points(SCALES if job.minutes >= _SHORT else SCALES[:1], **same)
    refined = partial(write_recommendation, job, table)
    try:
        with time_left('measuring') as progress:
            measure(table, points, clips, job.load, truth, progress=progress, refined=refined)
    except VideoError:
        raise
    except ValueError as error:  # no boxes
        raise AdaptError(f'{error}') from error
    return table


def recommend(job: Job, table: Table) -> None:
    """Write the report and the recommended point where they have changed."""
    best, live, folder = *write_recommendation(job, table), job.folder
    use = f'semidff-demo VIDEO {folder} --out boxes.mp4\n'
    use += f'VideoInferencer({str(folder)!r})  # in Python'
    use = f'This folder runs {best}:\n\n```\n{use}\n```'
    if live != best:
        use += f'\n\n`semidff-demo CAMERA {folder}` runs {live}.'
    file, title = folder / 'report.md', f'{job.name}, adapted'
    text = f'# {title}\n\n{report(table, fps=job.fps, use=use)}'
    if not file.is_file() or file.read_text() != text or not (folder / 'report.png').is_file():
        write_report(table, folder, title, fps=job.fps, use=use)


def write_recommendation(job: Job, table: Table) -> tuple[Point, Point]:
    """Make the folder run the best point, and the best one for live video; return them."""
    best, folder = table.best(fps=job.fps), job.folder
    live = table.best(fps=job.fps, causal=True)
    is_trained = (folder / 'last.pth').is_file()
    config = read_config(folder / TRAINING) if is_trained else untrained_config(job.own)
    config.recommended = asdict(best) | dict(live=asdict(live))
    if (folder / 'config.py').is_file():
        known = read_config(folder / 'config.py')
        if (known.get('recommended'), known.model) == (config.recommended, config.model):
            return best, live
    (folder / 'video.mp4').unlink(missing_ok=True)
    write_config(config, folder / 'config.py')
    job.log(verdict(table, fps=job.fps).partition('\n')[0])
    return best, live


def choose_network(job: Job, choices: Choices, table: Table) -> None:
    """Choose split point and flow network, and decide whether their training can pay.

    It is the first one, in order of accuracy, that is fast enough over the detector, or the fastest
    one. Its training can pay if even perfect propagation is faster than the best untrained method
    by the same factor, or reaches the frame rate that no other method does.
    """
    if choices.network:
        return
    best = table.best(fps=job.fps)
    clip, fastest = choices.clips[0], (0.0, None, 0.0)
    for network in candidates(job):
        job.log(f'measuring {network.split}, flow on frames × 1/{network.downsampling}')
        key, non_key = _seconds_of(job, network, best.runtime, clip)
        speed_up = 10 * key / (key + 9 * non_key)
        fastest = max(fastest, (speed_up, network, non_key), key=lambda one: one[0])
        if speed_up >= LEAST_SPEEDUP and (not job.fps or 10 / (key + 9 * non_key) >= job.fps):
            fastest = speed_up, network, non_key
            break
    _, choices.network, non_key = fastest
    choices.pays, choices.why = can_pay(table, non_key, job.fps)
    choices.save(job.folder)


def can_pay(table: Table, non_key: float, fps: float | None = None) -> tuple[bool, str]:
    """Return whether a training can pay, and the sentence why.

    Propagation with light frames every 5 is about as accurate as *track* at half the interval
    (docs/benchmarks.md, Adapted), so it must be faster than what is as accurate without training.

    Args:
        non_key: Seconds of a propagated frame.
    """
    rows, every = table.measured, max(LIGHT_EVERY)
    causal = [p for p in rows if p.method == 'track' and p.filter == 'causal' and p.scale == 1]
    tracks = sorted(causal, key=lambda point: point.key_interval) or [table.detector]
    half, longest = tracks[-2:][0], tracks[-1]
    least = table.metric(half, 'AP')
    equals = [p for p in rows if p.is_causal and table.metric(p, 'AP') >= least]
    rival = min(equals, key=lambda point: rows[point].seconds)
    share = (-(-longest.key_interval // every) - 1) / longest.key_interval
    trained = rows[longest].seconds + share * non_key
    ratio = rows[rival].seconds / trained
    why = (
        f'propagation would take about {1000 * trained:.1f} ms a frame at l = '
        f'{longest.key_interval} with light frames every {every}, where it is about as accurate as '
        f'{half}; without training, {rival} takes {1000 * rows[rival].seconds:.1f} ms, {ratio:.1f} '
        'times as long'
    )
    if fps:
        best = table.best(fps=fps)
        pays = rows[best].seconds > 1 / fps or table.loss(best) > 0.03
        return pays, f'{why}; {fps:g} frames per second are {"not " * pays}reached without training'
    return ratio >= LEAST_SPEEDUP, f'{why}; at least {LEAST_SPEEDUP} are needed'


def _seconds_of(job: Job, network: Network, runtime: str, clip: Clip) -> tuple[float, float]:
    """Return the seconds of a key frame and of a non-key frame of an untrained network."""
    options = Acceleration(channels_last=True, runtime=runtime)
    model = build_network(job, network)
    model.cfg = untrained_config(job.own)
    executor = accelerate(model, options)
    cases = {(1.0, 0.0): Point('frame'), (0.0, 1.0): Point('propagate')}
    laps = times(cases, clip, lambda point: executor)
    return tuple(
        float(np.median([lap.total(*shares) for lap in own])) for shares, own in laps.items()
    )


def train_network(job: Job, choices: Choices) -> None:
    """Train; write ``last.pth``, the video detector."""
    folder, network = job.folder / 'training', choices.network
    if (job.folder / 'last.pth').is_file() and (job.folder / TRAINING).is_file():
        return
    if not (job.folder / TRAINING).is_file():
        write_list(folder / 'videos.txt', choices.trained)
        model: nn.Module = build_network(job, network, 'SemiDFF')
        data = choose_data(job, choices, model)
        config = training_config(job.own, network, data, job.folder, job.device)
        check_space(job.folder, model)
        if not choices.iterations:
            choose_iterations(config, choices, data, job.device, training_seconds(job))
            choices.save(job.folder)
        config.train_dataloader.dataset.dataset.update(choices.frames)
        for step in config.train_cfg.steps:
            step.iters = choices.iterations[step.name]
            if step.name == 'regression' and sum(choices.iterations.values()) < SHORT:
                step.param_scheduler[0].eta_max *= 2
        write_config(config, job.folder / TRAINING)
    job.log('training: ' + ', '.join(f'{n} {k} iterations' for k, n in choices.iterations.items()))
    train(job.folder / TRAINING, folder)
    state, meta = read_checkpoint(folder / 'last.pth')
    classes = class_names(read_config(job.folder / TRAINING), meta)
    meta = dict(iter=meta['iter'], dataset_meta=dict(classes=classes), cfg=meta['cfg'])
    save_weights(job.folder / 'last.pth', state, meta)
