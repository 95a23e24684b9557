"""What a detector reaches on a user's videos without training: the first measurement of an adaptation."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.analysis.filter_fit import TRACKED, fit_filter, runs_to_fit
from semidff.analysis.operating_points import measure_operating_points
from semidff.analysis.operating_report import DECIDING, point_name
from semidff.analysis.runs import OperatingPoint, Run, detect_clips, runs_of
from semidff.datasets.video_list import load_videos
from semidff.datasets.video_readers import VideoError
from semidff.inference import VideoEngine
from semidff.inference.executors import Executor
from semidff.inference.loading import frame_pipeline
from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.threads import default_workers, has_busy_cores, torch_threads

from .plan import Videos
from .validation import check_clips, recommendation, untrained_points, write_report
from .videos import hold_back, write_list

FILE = 'survey.json'
_SECONDS = 60  # of the dense detector, in all
_LEAST, _MOST = 60, 300  # frames
_FILTERS = 0.3  # seconds of a frame with all filters, which are evaluated
_OTHERS = 150  # seconds: runtimes that are compared, and times
_PASSES = 2.2  # of the detector at the config's input size, all input sizes together


@dataclass(frozen=True)
class Survey:
    """The videos of an adaptation, and what needs no training."""

    key: list  # what the results depend on
    videos: Videos
    recommended: dict[str, Any]  # for the config
    name: str  # of the recommended point
    enough: bool  # whether it loses little, and reaches the frame rate that was asked for
    milliseconds: float  # of a frame with it
    tracked: dict[str, float]  # milliseconds of a frame with *track*, by key-frame interval
    seconds: float  # that all of it took

    @classmethod
    def load(cls, folder: Path, key: Sequence) -> 'Survey | None':
        """Read that of a folder; None if there is none with this key."""
        with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            content = read_json(folder / FILE)
            videos = content.pop('videos')
            videos['clips'] = [EvaluationClip(*clip) for clip in videos['clips']]
            survey = cls(videos=Videos(**videos), **content)
            return survey if survey.key == json.loads(json.dumps(key)) else None
        return None


def survey(
    own: Config,
    detector: Executor,
    given: Sequence[str],
    out: Path,
    key: Sequence,
    runtime: str,
    fps: float | None = None,
    labels: str | Path | None = None,
    live_rate: float | None = None,
    hold: bool = True,
    runs: dict[OperatingPoint, list[Run]] | None = None,
    teacher: Executor | None = None,
    details: str = '',
    progress: Callable[[str], None] = lambda text: None,
) -> Survey:
    """Measure a detector and the methods without training; write a report to the folder ``out``.

    The detections of all frames at all input sizes are computed once, about a minute long, on 60 to 300 frames.

    Args:
        own: Result of :func:`~semidff.adaptation.config.detector_config`.
        given: The videos.
        key: What the results depend on.
        labels, live_rate: See :func:`~semidff.apis.adapt`.
        hold: Whether videos are held back for a training, and measured alone.
        runs: Receives the runs of all points.
        teacher: See :func:`~semidff.analysis.operating_points.measure_operating_points`.
        details: End of the report.
    """
    progress('opening the videos')
    start = time.monotonic()
    readable = load_videos(write_list(out / 'videos' / 'found.txt', given))
    trained, held_back, portion = hold_back(readable) if hold else (readable, readable, 1.0)
    paths, validating = ([video.path for video in part] for part in (trained, held_back))
    on_cpu = next(detector.model.parameters()).device.type == 'cpu'
    workers = default_workers() if on_cpu else 1
    with torch_threads(1) if workers > 1 else nullcontext():  # as the clips are processed
        seconds = seconds_of(own, detector, validating + paths) / workers
        frames = int(min(max(_SECONDS / (_PASSES * seconds), _LEAST), _MOST))
        validating, clips, scales = check_clips(own, detector, validating, portion, frames)
    known = {*paths, *validating}
    skipped = [path for path in given if path not in known]
    videos = Videos(paths, validating, skipped, portion, clips, scales)
    minutes = (frames * (seconds * _PASSES + _FILTERS) + _OTHERS) / 60
    progress(f'measuring what needs no training: {frames} frames, about {minutes:.0f} minutes')
    if has_busy_cores():
        progress('another process is busy: all times will be longer than those of an idle machine')
    dense = OperatingPoint('frame')
    fitted = {dense: runs_of(dense, None, 1), TRACKED: runs_to_fit()}
    detect_clips(detector, clips, fitted, progress)
    constants = fit_filter(fitted[dense][0], fitted.pop(TRACKED))
    runs = {} if runs is None else runs
    runs.update({} if labels else fitted)
    report = measure_operating_points(
        detector,
        clips,
        untrained_points(scales),
        teacher=teacher,
        labels=labels,
        live_rate=live_rate,
        rounds=3,
        fps=fps,
        constants=constants,
        runs=runs,
        progress=progress,
    )
    name = type(detector.model.spatial.detector).__name__
    write_report(out, report, f'{name}, without training', details)
    recommended, reference = report['recommended'], report['reference']['metrics']
    lost = max(reference[name] - recommended['metrics'][name] for name in DECIDING)
    result = Survey(
        list(key),
        videos,
        recommendation(report, constants, runtime),
        point_name(recommended),
        lost <= report['max_loss'] and 1000 / recommended['milliseconds'] >= (fps or 0),
        recommended['milliseconds'],
        {
            str(one['key_interval']): one['milliseconds']
            for one in report['points']
            if (one['method'], one['scale'], one['filter']) == ('track', 1, 'causal')
        },
        time.monotonic() - start,
    )
    write_json(asdict(result), out / FILE, indent=2)
    progress(report['verdict'])
    return result


def seconds_of(own: Config, detector: Executor, videos: Sequence[str]) -> float:
    """Return the seconds of a frame of the first video that can be decoded, after two others."""
    engine, pipeline = VideoEngine(detector, 'frame'), frame_pipeline(own)
    for path in videos:
        with suppress(VideoError):
            for number, image in enumerate(EvaluationClip(path, 0, 4).images()):
                start = time.perf_counter()
                engine.push(pseudo_collate([pipeline(dict(img=image))]))
                if number > 1:
                    return time.perf_counter() - start
    raise VideoError(videos[0], 'no video has frames that can be decoded')
