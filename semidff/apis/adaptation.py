"""From an image detector and unlabeled videos to a faster video detector, in one call."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mmengine.device.utils as mmengine_device
import torch

from semidff.adaptation import Plan, PlanError
from semidff.adaptation.config import (
    config_digest,
    detector_config,
    make_config,
    untrained_config,
    write_config,
    write_detector,
)
from semidff.adaptation.planner import (
    build_image_detector,
    check_space,
    folder_plan,
    make_plan,
)
from semidff.adaptation.student import Taught, load_detector, teach
from semidff.adaptation.survey import FILE as SURVEY_FILE
from semidff.adaptation.survey import Survey, survey
from semidff.adaptation.validation import ADAPTIVE_FILE, check_labels, validate
from semidff.adaptation.videos import named_videos, write_list
from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.analysis.runs import OperatingPoint, Run
from semidff.datasets.class_names import class_names
from semidff.datasets.video_list import VideoListError, load_videos
from semidff.datasets.video_readers import Frame, open_video
from semidff.engine.launch import train
from semidff.inference.executors import Executor, default_runtime
from semidff.inference.schedule_fit import FitError, fit_adaptive
from semidff.utils.atomic_write import atomic_path, read_json, write_json
from semidff.utils.checkpoint import detector_digest, read_checkpoint, save_weights
from semidff.utils.configs import read_config
from semidff.utils.error_messages import FileError
from semidff.utils.files import file_state
from semidff.utils.image_detectors import published_weights
from semidff.utils.run_folder import occupy
from semidff.utils.threads import torch_threads

from .video_inferencer import VideoInferencer

_FOREIGN = 'config.py', 'last.pth', 'detector.pth', 'adaptive.json', 'report.md', 'video.mp4'
_CLIPS = 5, 20  # fewest and most to which the adaptive schedule is fitted
_RENDERED = 250  # frames
_MINUTES = 60.0


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
    runtime: str | None = None,
    no_training: bool = False,
    adapt_detector: bool = False,
    student: Sequence[str | Path] | None = None,
    also: str | Path | None = None,
    live_rate: float | None = None,
) -> Path:
    """Turn an image detector into a faster video detector, with unlabeled videos.

    First, methods without training are measured, then a training is planned. If it can pay, the detector is trained and
    measured again. What was interrupted continues with the same arguments.

    Args:
        detector: Config file, or name of a model of mmdetection.
        checkpoint: Its weights.
        videos: Video files, folders of frames, folders that contain either, and globs.
        out: Folder of the results.
        minutes: Time of the whole adaptation; None: 60, or that of the plan in the folder.
        fps: Frames per second to reach, from decoding to boxes, by the most accurate operating point that does.
        key_interval: Key-frame interval l of the forecasts; training covers intervals up to 2 l.
        labels: COCO-VID json of labeled videos, for mAP beside the agreement with the detector, on all of their frames
            in place of held-back ones.
        plan_only: Whether to stop after the plan.
        anyway: Whether to train even if it cannot pay.
        device: Device; default: a GPU if available.
        seed: Seed of the training; None: 0, or that of the plan in the folder.
        runtime: What computes the frames of all measurements and of the result, see :class:`VideoInferencer`; None:
            ``openvino`` if it is installed, or that of the plan.
        no_training: Whether to stop when the methods without a temporal module are measured.
        adapt_detector: Whether to train the detector first, on what it finds in the videos when it is filtered both
            ways, see :mod:`semidff.adaptation.student`. All that follows is of the trained one, if it is better.
        student: Config (or name) and checkpoint of another detector of the same classes, which is trained in its place.
        also: COCO json of labeled images that the detector is trained on, too.
        live_rate: Frames per second of a camera for which the streaming accuracy of the best causal points is measured,
            too, in real time.

    Returns:
        The folder, which :class:`VideoInferencer` takes.
    """
    limits = ('minutes', minutes, 0), ('fps', fps, 0), ('key_interval', key_interval, 1)
    for name, value, least in limits:
        if value is not None and not least < value < float('inf'):
            raise PlanError(f'{name} is {value}; it must be above {least} and finite')
    out = Path(out).resolve()
    detector, checkpoint = _checked(detector, checkpoint, out)
    found = named_videos([str(video) for video in videos], out)
    if labels is not None:
        check_labels(labels, detector_config(detector), checkpoint, found)
    say = _Progress()
    with (
        _training_device(device) as device,
        occupy(out, 'adaptation', '--out'),
        TemporaryDirectory() as cache,
    ):
        work = _Adaptation(out, device, labels, live_rate, cache, say)
        if adapt_detector or student:
            say.minutes = minutes or _MINUTES
            pupil = _checked(*student, out) if student else (detector, checkpoint)
            given = also, found, out, device, seed or 0, say.minutes
            work.taught = teach(detector, checkpoint, pupil, *given, say)
            detector, checkpoint = work.taught[:2]
        asked = minutes, key_interval, fps, seed, device, runtime
        plan, stands = folder_plan(detector, checkpoint, found, out, *asked)
        if not stands:
            if plan:
                minutes, runtime = minutes or plan.minutes, runtime or plan.runtime
                seed = plan.seed if seed is None else seed
                if fps is key_interval is None:
                    fps, key_interval = plan.fps, None if plan.fps else plan.networks.key_interval
            minutes, seed, runtime = minutes or _MINUTES, seed or 0, runtime or default_runtime()
            say.minutes = None if no_training else minutes
            surveyed = work.survey(detector, checkpoint, found, runtime, fps, not no_training)
            if not no_training:
                asked = minutes, key_interval, fps, seed, device, runtime
                plan = make_plan(detector, checkpoint, surveyed, out, *asked, say.seconds(), say)
        if not no_training:
            say.minutes = plan.minutes
            print(plan.text(), flush=True)
            pays, why = plan.gain()
            if plan_only:
                say(f'stopped after the plan, which is {out / "plan.json"}')
                return out
            if pays or anyway:
                say('training')
                work.finish(work.train(plan))
            else:
                say(f'{why}. Nothing is trained; --anyway trains')
        if not (out / 'video.mp4').exists():
            work.render((plan if stands else surveyed).videos.clips)
        inferencer = VideoInferencer(out, device=device, show_progress=False)
    print(
        f'{out / "report.md"}, {out / "report.png"}, {out / "video.mp4"}. The folder runs {inferencer.description}:\n'
        f'  semidff-demo VIDEO {out} --out boxes.mp4\n'
        f'  VideoInferencer({str(out)!r})',
        flush=True,
    )
    return out


def _checked(detector: str, checkpoint: str | Path, out: Path) -> tuple[str, str]:
    """Return absolute paths of a detector, which exists, and check that the folder is new or that of an adaptation."""
    url = '://' in str(checkpoint)
    checkpoint = str(checkpoint) if url else os.path.abspath(checkpoint)
    foreign = [name for name in _FOREIGN if (out / name).exists()]
    if foreign and not any((out / name).exists() for name in ('plan.json', SURVEY_FILE)):
        raise FileError(
            f'{out / foreign[0]}: exists already, in a folder that is not that of an earlier adaptation; give another '
            '--out'
        )
    detector = os.path.abspath(detector) if Path(detector).is_file() else detector
    if not url and not Path(checkpoint).is_file() and (address := published_weights(detector)):
        raise FileError(
            f'{checkpoint}: there is no such file; the weights that mmdetection publishes are at {address}, which may '
            'be given instead'
        )
    return detector, checkpoint


@dataclass
class _Adaptation:
    """The parts of an adaptation, and what they share.

    Attributes:
        cache: Folder of the graphs of all operating points; the result keeps those of the recommended one.
        detector: The detector, if it was measured.
        runs: Those of the points without training.
    """

    out: Path
    device: str
    labels: str | Path | None
    live_rate: float | None
    cache: str
    say: '_Progress'
    taught: Taught | None = None
    detector: Executor | None = None
    runs: dict[OperatingPoint, list[Run]] = field(default_factory=dict)

    def survey(
        self,
        detector: str,
        checkpoint: str,
        given: Sequence[str],
        runtime: str,
        fps: float | None,
        hold: bool,
    ) -> Survey:
        """Measure what needs no training, unless the folder has it; the folder can be used with it."""
        out, own = self.out, detector_config(detector)
        key = detector_digest(checkpoint), config_digest(own), self.device, runtime, fps
        key = (*key, self._labels, hold, given, *([self.taught.details] if self.taught else []))
        key = (*key, *([] if self.live_rate is None else [self.live_rate]))
        if surveyed := Survey.load(out, key):
            return surveyed
        for name in ('plan.json', 'video.mp4'):  # of another one
            (out / name).unlink(missing_ok=True)
        build_image_detector(detector, own)
        write_json(dict(key=None), out / SURVEY_FILE)  # the folder is that of an adaptation
        write_detector(own, checkpoint, out)
        write_config(untrained_config(own), out / 'config.py')
        self.detector = self._load_detector(runtime)
        given = given, out, key, runtime, fps, self.labels, self.live_rate, hold, self.runs
        surveyed = survey(own, self.detector, *given, *self._compared(runtime), self.say)
        self.detector = self.detector.with_temporal(None)  # without graphs in memory
        write_config(untrained_config(own, surveyed.recommended), out / 'config.py')
        return surveyed

    def train(self, plan: Plan) -> Plan:
        """Write ``config.py`` and the checkpoints that are missing; train if that of the result is.

        Returns:
            The plan, with the iterations that were made.
        """
        out = self.out
        own, trained = detector_config(plan.detector), (out / 'last.pth').is_file()
        if not (out / 'detector.pth').is_file():
            write_detector(own, plan.checkpoint, out)
        file = out / 'config.py'
        if trained and file.is_file():
            return plan
        videos = write_list(out / 'videos' / 'train.txt', plan.videos.videos)
        config = make_config(own, plan, videos, self.device)
        # Until the result is validated, the folder runs what needs no training.
        names = *OperatingPoint._fields, 'runtime'
        config.recommended = {name: plan.untrained[name] for name in names}
        write_config(config, file)
        if trained:
            return plan
        check_space(plan, out)
        with torch_threads(plan.training.threads):
            train(file, out / 'training')
        state, meta = read_checkpoint(out / 'training' / 'last.pth')
        made = dict(meta['distillation_steps'])
        plan = replace(plan, training=replace(plan.training, made=made))
        plan.save(out / 'plan.json')
        classes = class_names(config, meta)
        meta = dict(iter=meta['iter'], dataset_meta=dict(classes=classes), cfg=meta['cfg'])
        save_weights(out / 'last.pth', state, meta)
        return plan

    def finish(self, plan: Plan) -> None:
        """Write schedule, report and video: the first one that is missing or damaged, and what follows from it.

        ``stages.json`` has the size of each file when it was finished, and the labels that were used.
        """
        given = [*(self._labels or []), *([] if self.live_rate is None else [self.live_rate])]
        report = 'config.py', 'adaptive.json', 'report.md', 'report.json', 'report.png'
        stages = (
            (lambda: self._fit(plan), [], [f'validation/{ADAPTIVE_FILE}']),
            (lambda: self._validate(plan), given, report),
            (lambda: self.render(plan.videos.clips), given, ['video.mp4']),
        )
        finished: list[list] = []
        with suppress(FileNotFoundError, ValueError):
            finished = read_json(self.out / 'stages.json')
        for number, (run, read, written) in enumerate(stages):
            if finished[number : number + 1] != [[*read, *self._sizes(written)]]:
                run()
                finished[number:] = [[*read, *self._sizes(written)]]
                write_json(finished, self.out / 'stages.json')

    def render(self, clips: Sequence[EvaluationClip]) -> None:
        """Draw what the recommended operating point detects in held-back frames."""
        self.say('rendering a clip')
        clip = clips[0]
        with closing(open_video(clip.path)) as stream:
            rate = stream.fps
        inferencer = VideoInferencer(self.out, device=self.device, show_progress=False)
        frames = islice(clip.images(), _RENDERED)
        for _ in inferencer(frames, out_video=self.out / 'video.mp4', fps=rate):
            pass

    def _fit(self, plan: Plan) -> None:
        """Fit the adaptive schedule, which replaces the recommended one when the validation is finished."""
        self.say('fitting the adaptive schedule')
        inferencer, file = self._load_result(), self.out / 'validation' / ADAPTIVE_FILE
        pack = lambda image: inferencer.preprocess(Frame(image, 0, 0.0))  # noqa: E731
        clips = min(max(round(plan.minutes / 3), _CLIPS[0]), _CLIPS[1])
        try:
            listed = write_list(self.out / 'videos' / 'all.txt', plan.videos.videos)
            portion = plan.videos.portion
            videos = [
                video._replace(length=int(video.length * portion)) for video in load_videos(listed)
            ]
            fit_adaptive(inferencer.model, pack, videos, clips).predictor.save(file)
        except (FitError, VideoListError) as error:
            self.say(f'no adaptive key frames: {error}')
            file.unlink(missing_ok=True)

    def _validate(self, plan: Plan) -> None:
        """Measure operating points, and put the recommended one into the config."""
        self.say('validation on held-back frames')
        out, config = self.out, read_config(self.out / 'config.py')
        loaded = self._load_result(runtime=plan.runtime, cache=self.cache)
        detector = self.detector or self._load_detector(plan.runtime)
        given = loaded.stages.method.executor, detector, out, self.labels, self.live_rate, self.runs
        config.recommended = validate(plan, *given, *self._compared(plan.runtime), self.say)
        fitted, file = out / 'validation' / ADAPTIVE_FILE, out / ADAPTIVE_FILE
        if fitted.exists():
            with atomic_path(file) as unfinished:
                shutil.copyfile(fitted, unfinished)
        else:
            file.unlink(missing_ok=True)
        write_config(config, out / 'config.py')

    @property
    def _labels(self) -> list | None:
        """What tells whether the labels have changed."""
        return self.labels and [os.path.abspath(self.labels), *file_state(self.labels)]

    def _sizes(self, files: Sequence[str]) -> list[list[int]]:
        return [file_state(self.out / file)[:1] for file in files]

    def _load_detector(self, runtime: str) -> Executor:
        return load_detector(self.out, self.device, runtime, self.cache)

    def _load_result(self, **options: Any) -> VideoInferencer:
        """Load the result, at the config's input size."""
        options |= dict(method='propagate', show_progress=False)
        return VideoInferencer(
            str(self.out / 'config.py'), self.out / 'last.pth', self.device, **options
        )

    def _compared(self, runtime: str) -> tuple[Executor | None, str]:
        """Return the teacher, if the agreement is with it, and the section of the report."""
        if not self.taught:
            return None, ''
        return self.taught.load_teacher(self.device, runtime, self.cache), self.taught.details


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


class _Progress:
    """Prints what is done, after how much of the time of the whole command."""

    def __init__(self) -> None:
        self.minutes: float | None = None
        self._start = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._start

    def __call__(self, text: str) -> None:
        whole = f' of {self.minutes:g}' if self.minutes else ''
        print(f'adapt, minute {self.seconds() / 60:.1f}{whole}: {text}', flush=True)
