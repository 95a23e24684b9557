"""From an image detector and unlabeled videos to a faster video detector, in one call."""

import gc
import json
import os
import shutil
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from itertools import islice
from pathlib import Path

import mmengine.device.utils as mmengine_device
import torch

from semidff.adaptation import Plan, PlanError, folder_plan
from semidff.adaptation.config import detector_config, make_config, write_config
from semidff.adaptation.plan import LEAST_SPEEDUP
from semidff.adaptation.planner import check_space
from semidff.adaptation.validation import ADAPTIVE_FILE, check_labels, held_back_clips, validate
from semidff.adaptation.videos import named_videos, write_list
from semidff.datasets.class_names import class_names
from semidff.datasets.video_list import VideoListError, load_videos
from semidff.datasets.video_readers import Frame, open_stream
from semidff.engine.training import run_training
from semidff.inference.schedule_fit import FitError, fit_adaptive
from semidff.utils.atomic_write import atomic_path, write_json
from semidff.utils.checkpoint import TRAINING_ONLY, read_checkpoint
from semidff.utils.error_messages import ConfigError, FileError
from semidff.utils.model_building import read_config
from semidff.utils.run_folder import occupy

from .video_inferencer import VideoInferencer

_FOREIGN = 'config.py', 'last.pth', 'detector.pth', 'adaptive.json', 'report.md', 'video.mp4'
_REPORT = 'report.md', 'report.json', 'report.png'
_CLIPS = 5, 20  # fewest and most to which the adaptive schedule is fitted
_RENDERED = 250  # frames


def adapt(
    detector: str,
    checkpoint: str | Path,
    videos: Sequence[str | Path],
    out: str | Path,
    minutes: float | None = None,
    fps: float | None = None,
    key_interval: int | None = None,
    labels: str | Path | None = None,
    plan_only: bool = False,
    anyway: bool = False,
    device: str | None = None,
    seed: int | None = None,
) -> Path:
    """Turn an image detector into a faster video detector, with unlabeled videos.

    What was interrupted continues with the same arguments.

    Args:
        detector: Config file, or name of a model of mmdetection.
        checkpoint: Its weights.
        videos: Video files, folders of frames, folders that contain either, and globs.
        out: Folder of the results.
        minutes: Time of the whole adaptation; None: 60, or that of the plan in the folder.
        fps: Frames per second to reach, from decoding to boxes, by the most accurate operating point that does.
        key_interval: Key-frame interval l of the forecasts; training covers intervals up to 2 l - 1.
        labels: COCO-VID json of labeled videos, for mAP beside the agreement with the detector, on all of their frames
            in place of held-back ones.
        plan_only: Whether to stop after the plan.
        anyway: Whether to train even if the forecast speed-up is below 1.3.
        device: Device; default: a GPU if available.
        seed: Seed of the training; None: 0, or that of the plan in the folder.

    Returns:
        The folder, which :class:`VideoInferencer` takes.
    """
    for name, value in (('minutes', minutes), ('fps', fps)):
        if value is not None and not 0 < value < float('inf'):
            raise PlanError(f'{name} is {value}; it must be above 0 and finite')
    if key_interval is not None and key_interval < 2:
        raise PlanError(f'key_interval is {key_interval}; it must be at least 2')
    out, url = Path(out).resolve(), '://' in str(checkpoint)
    checkpoint = str(checkpoint) if url else os.path.abspath(checkpoint)
    foreign = [name for name in _FOREIGN if (out / name).exists()]
    if foreign and not (out / 'plan.json').exists():
        raise FileError(
            f'{out / foreign[0]}: exists already, in a folder that is not that of an earlier adaptation; give another '
            '--out'
        )
    detector = os.path.abspath(detector) if Path(detector).is_file() else detector
    found = named_videos([str(video) for video in videos], out)
    if labels is not None:
        check_labels(labels, detector_config(detector), checkpoint, found)
    with _training_device(device) as device, occupy(out, 'adaptation', '--out'):
        asked = minutes, key_interval, fps, seed
        plan = folder_plan(detector, checkpoint, found, out, *asked, device, _say)
        print(plan.text(), flush=True)
        if plan_only:
            return out
        if plan.chosen.speedup < LEAST_SPEEDUP and not anyway:
            raise PlanError(
                f'the forecast speed-up at l = {plan.key_interval} is {plan.chosen.speedup:.2f}, below '
                f'{LEAST_SPEEDUP}: what runs on every frame is nearly as expensive as the detector. Use a smaller '
                'input size instead, or train with --anyway'
            )
        _train(plan, out, device)
        _finish(plan, out, device, labels)
    print(
        f'Result: {out / "report.md"}, {out / "report.png"}, {out / "video.mp4"}. Use it with\n'
        f'  semidff-demo VIDEO {out} --out boxes.mp4\n'
        f'  VideoInferencer({str(out)!r})',
        flush=True,
    )
    return out


def _train(plan: Plan, out: Path, device: str) -> None:
    """Train what the plan has and the folder lacks, and write ``last.pth`` and ``detector.pth``."""
    folder, path, slim = out / 'training', out / 'config.py', out / 'last.pth'
    if not (out / 'detector.pth').exists():
        own, meta = read_checkpoint(plan.checkpoint)
        classes = class_names(detector_config(plan.detector), meta)
        _save(out / 'detector.pth', own, dict(dataset_meta=dict(classes=classes)))
    trained = slim.exists()
    if trained and _recommended(out):
        return
    videos = write_list(out / 'videos' / 'train.txt', plan.videos)
    config = make_config(detector_config(plan.detector), plan, videos, device)
    write_config(config, path)
    if trained:
        return
    check_space(plan, out)
    options = dict.fromkeys(('cfg_options', 'accumulate', 'seed'), None)
    options |= dict(launcher='none', local_rank=0, amp=False, resume='auto')
    run_training(Namespace(config=str(path), work_dir=str(folder), **options))
    gc.collect()  # the Runner and its loop, which refer to each other, hold models and data workers
    state, meta = read_checkpoint(folder / 'last.pth')
    meta = dict(
        iter=meta['iter'], dataset_meta=dict(classes=class_names(config, meta)), cfg=meta['cfg']
    )
    _save(slim, state, meta)


def _save(file: Path, state: dict, meta: dict) -> None:
    """Write a checkpoint without the teacher."""
    kept = {key: value for key, value in state.items() if not key.startswith(TRAINING_ONLY)}
    with atomic_path(file) as unfinished:
        torch.save(dict(state_dict=kept, meta=meta), unfinished)


def _recommended(out: Path) -> dict | None:
    """Return the recommended operating point of the folder's config, None if it lacks it or cannot be read."""
    with suppress(ConfigError):
        return read_config(out / 'config.py').get('recommended')
    return None


def _finish(plan: Plan, out: Path, device: str, labels: str | Path | None) -> None:
    """Write what follows from ``last.pth`` and is not there yet: schedule, report and video."""
    done, given = {}, None
    with suppress(FileNotFoundError, ValueError):
        done = json.loads((out / 'progress.json').read_text())
    if labels is not None:
        given = [os.path.abspath(labels), os.stat(labels).st_size, os.stat(labels).st_mtime_ns]
    complete = all((out / name).exists() for name in _REPORT) and _recommended(out)
    stages = dict(
        adaptive=(_fit, 'done', True),
        report=(_validate, given, complete),
        video=(_render, given, (out / 'video.mp4').exists()),
    )
    for name, (run, state, present) in stages.items():
        if name not in done or done[name] != state or not present:
            run(plan, out, device, labels)
            done[name] = state
            write_json(done, out / 'progress.json')


def _fit(plan: Plan, out: Path, device: str, labels: str | Path | None) -> None:
    """Fit the adaptive schedule, which replaces the recommended one when the validation is finished."""
    _say('fitting the adaptive schedule')
    inferencer, file = _load(out, device), out / 'validation' / ADAPTIVE_FILE
    pack = lambda image: inferencer.preprocess(Frame(image, 0, 0.0))  # noqa: E731
    clips = min(max(round(plan.minutes / 3), _CLIPS[0]), _CLIPS[1])
    try:
        videos = load_videos(write_list(out / 'videos' / 'all.txt', plan.videos))
        videos = [video._replace(length=int(video.length * plan.portion)) for video in videos]
        fit_adaptive(inferencer.model, pack, videos, clips).predictor.save(file)
    except (FitError, VideoListError) as error:
        _say(f'no adaptive key frames: {error}')
        file.unlink(missing_ok=True)


def _validate(plan: Plan, out: Path, device: str, labels: str | Path | None) -> None:
    """Measure operating points, and put the recommended one into the config."""
    _say('validation on held-back frames')
    detector = _load(out, device, 'detector.pth', 'frame').model
    config, model = read_config(out / 'config.py'), _load(out, device).model
    config.recommended = validate(plan, model, detector, out, labels, _say)
    fitted, file = out / 'validation' / ADAPTIVE_FILE, out / ADAPTIVE_FILE
    if fitted.exists():
        with atomic_path(file) as unfinished:
            shutil.copyfile(fitted, unfinished)
    else:
        file.unlink(missing_ok=True)
    write_config(config, out / 'config.py')


def _load(
    out: Path, device: str, weights: str = 'last.pth', method: str = 'propagate'
) -> VideoInferencer:
    """Load the result, or the detector, at the config's input size."""
    config = str(out / 'config.py')
    return VideoInferencer(config, out / weights, device, method, show_progress=False)


def _render(plan: Plan, out: Path, device: str, labels: str | Path | None) -> None:
    """Draw what the recommended operating point detects in held-back frames."""
    _say('rendering a held-back clip')
    clip = held_back_clips(plan)[0]
    with closing(open_stream(clip.path)) as stream:
        rate = stream.mean_rate()
    inferencer = VideoInferencer(out, device=device, show_progress=False)
    for _ in inferencer(islice(clip.images(), _RENDERED), out_video=out / 'video.mp4', fps=rate):
        pass


@contextmanager
def _training_device(device: str | None) -> Iterator[str]:
    """Make mmengine train on a device, which is yielded, until the block ends."""
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    own, before = torch.device(device), mmengine_device.DEVICE
    mmengine_device.DEVICE = own.type
    try:
        with torch.cuda.device(own.index or 0) if own.type == 'cuda' else nullcontext():
            yield device
    finally:
        mmengine_device.DEVICE = before


def _say(text: str) -> None:
    print(f'adapt: {text}', flush=True)
