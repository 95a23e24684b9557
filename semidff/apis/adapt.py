"""From an image detector and unlabeled videos to a faster video detector, in one call."""

import gc
import json
import os
import shutil
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path

import mmengine.device.utils as mmengine_device
import torch

from semidff.adaptation import Plan, PlanError, folder_plan
from semidff.adaptation.config import (
    detector_config,
    make_config,
    training_steps,
    write_config,
)
from semidff.adaptation.continuation import all_videos, is_begun
from semidff.adaptation.plan import LEAST_SPEEDUP
from semidff.adaptation.planner import check_space
from semidff.adaptation.validation import ADAPTIVE_FILE, check_labels, readable_clips, validate
from semidff.adaptation.videos import write_list, write_step_lists
from semidff.datasets.class_names import class_names
from semidff.datasets.video_list import VideoListError, load_videos
from semidff.datasets.video_readers import Frame, open_stream
from semidff.engine.training import run_training
from semidff.inference.schedule_fit import FitError, fit_adaptive
from semidff.utils.atomic_write import atomic_path, write_json
from semidff.utils.checkpoint import TRAINING_ONLY, read_checkpoint
from semidff.utils.model_building import read_config
from semidff.utils.run_folder import occupy
from semidff.utils.tool_files import FileError, OutputFolder, check_outputs

from .video_inferencer import VideoInferencer

_FOREIGN = 'config.py', 'last.pth', 'detector.pth', 'adaptive.json', 'report.md', 'video.mp4'
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

    What was interrupted continues with the same arguments. More minutes or videos train further.

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

    Raises:
        PlanError: If the folder has another plan, or the speed-up is not worth a training.
        ConfigError: If there is no such detector.
        CheckpointError: If the checkpoint does not fit the detector.
        VideoListError: If there are too few readable videos.
        FileError: If there is too little disk space, the folder is that of something else, or images of the labels are
            missing.
        ValueError: If the labels do not fit the detector.
    """
    for name, value in (('minutes', minutes), ('fps', fps)):
        if value is not None and not 0 < value < float('inf'):
            raise PlanError(f'{name} is {value}; it must be above 0 and finite')
    if key_interval is not None and key_interval < 2:
        raise PlanError(f'key_interval is {key_interval}; it must be at least 2')
    out, url = Path(out).resolve(), '://' in str(checkpoint)
    checkpoint = str(checkpoint) if url else os.path.abspath(checkpoint)
    check_outputs([OutputFolder(out)])
    foreign = [name for name in _FOREIGN if (out / name).exists()]
    if foreign and not (out / 'plan.json').exists():
        raise FileError(
            f'{out / foreign[0]}: exists already, in a folder that is not that of an earlier adaptation; give another '
            '--out'
        )
    detector = os.path.abspath(detector) if Path(detector).is_file() else detector
    given = [str(video) for video in videos]
    if labels := labels or _earlier_labels(out):
        check_labels(labels, detector_config(detector), checkpoint, all_videos(given, out))
    with _training_device(device) as device, occupy(out, 'adaptation', '--out'):
        asked = minutes, key_interval, fps
        plan = folder_plan(detector, checkpoint, given, out, *asked, device, _say)
        if seed is not None and seed != plan.seed:
            if is_begun(out):
                raise PlanError(f'{out}: its training has the seed {plan.seed}; give another --out')
            plan.seed = seed
            plan.save(out / 'plan.json')
        print(plan.text(), flush=True)
        if plan_only:
            return out
        plan.save(out / 'plan.json')
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
    total = sum(step['iters'] for step in plan.steps)
    if not (out / 'detector.pth').exists():
        own, meta = read_checkpoint(plan.checkpoint)
        classes = class_names(detector_config(plan.detector), meta)
        _save(out / 'detector.pth', own, dict(dataset_meta=dict(classes=classes)))
    if slim.exists() and read_checkpoint(slim)[1].get('iter') == total:
        return
    lists = write_step_lists(plan.steps, out)
    if path.exists():
        config = read_config(path)
        config.train_cfg.steps = training_steps(plan, lists)
        config.train_dataloader.dataset.dataset.ann_file = lists[0]
        config.model.checkpoint, config.randomness = plan.checkpoint, dict(seed=plan.seed)
    else:
        config = make_config(detector_config(plan.detector), plan, lists, device)
    check_space(plan, out)
    write_config(config, path)
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


def _progress(out: Path) -> dict:
    """Return what each stage after the training was made from."""
    file = out / 'progress.json'
    return json.loads(file.read_text()) if file.exists() else {}


def _earlier_labels(out: Path) -> str | None:
    """Return the labels of an earlier validation."""
    given = _progress(out).get('report', [None, None])[1]
    return given[0] if isinstance(given, list) else None


def _finish(plan: Plan, out: Path, device: str, labels: str | Path | None) -> None:
    """Write what follows from ``last.pth`` and is not there yet: schedule, report and video."""
    done, iters, given = _progress(out), sum(step['iters'] for step in plan.steps), None
    if labels is not None:
        given = [os.path.abspath(labels), os.stat(labels).st_size, os.stat(labels).st_mtime_ns]
    stages = dict(
        adaptive=(_fit, [iters]),
        report=(_validate, [iters, given]),
        video=(_render, [iters, given]),
    )
    for name, (run, state) in stages.items():  # each depends on the training, and on the labels
        if done.get(name) != state:
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
        videos = [replace(video, length=int(video.length * plan.portion)) for video in videos]
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
    clip = readable_clips(plan)[0]
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
