"""From an image detector and unlabeled videos to a faster video detector, in one call."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from itertools import islice
from pathlib import Path

import mmengine.device.utils as mmengine_device
import torch

from semidff.adaptation import AdaptError, steps
from semidff.adaptation.config import detector_config
from semidff.adaptation.job import Job
from semidff.adaptation.self_training import train_detector
from semidff.adaptation.videos import named_videos
from semidff.checkpoints.detectors import published_weights
from semidff.datasets.video_readers import open_video
from semidff.inference.executors import default_runtime
from semidff.points.clips import Clip
from semidff.utils.command_line import Checkpoint, Input
from semidff.utils.error_messages import FileError
from semidff.utils.run_folder import occupy

from .video_inferencer import VideoInferencer

_RENDERED = 250  # frames


def adapt(
    detector: str,
    checkpoint: Checkpoint,
    videos: Sequence[str | Path],
    *,
    out: str | Path,
    minutes: float = 60.0,
    fps: float | None = None,
    labels: Input | None = None,
    no_training: bool = False,
    plan_only: bool = False,
    anyway: bool = False,
    adapt_detector: bool = False,
    device: str | None = None,
    runtime: str | None = None,
) -> Path:
    """Turn an image detector into a faster video detector, with unlabeled videos.

    First, methods without training are measured. If a training can pay, a temporal module is
    trained, and measured, too. At any time, the folder runs what is best so far. After an
    interruption, the same call goes on.

    Args:
        detector: Config file, or name of a model of mmdetection.
        checkpoint: Its weights.
        videos: Video files, folders of frames, folders that contain either, and globs.
        out: Folder of the results, which :class:`VideoInferencer` takes.
        minutes: Time of the whole adaptation.
        fps: Frames per second to reach, from decoding to boxes, by the most accurate operating
            point that does.
        labels: COCO-VID json of other, labeled videos, on whose frames points are measured, by mAP,
            too.
        no_training: Whether to stop when the methods without training are measured.
        plan_only: Whether to stop when it is decided what would be trained.
        anyway: Whether to train even if it cannot pay.
        adapt_detector: Whether to fine-tune the detector itself first, see
            :mod:`semidff.adaptation.self_training`.
        device: Device; default: a GPU if available.
        runtime: What computes the frames; default: OpenVINO on CPUs, if it is installed.

    Returns:
        The folder.
    """
    for name, value in (('minutes', minutes), ('fps', fps)):
        if value is not None and not 0 < value < float('inf'):
            raise AdaptError(f'{name} is {value}; it must be above 0 and finite')
    folder = Path(out).resolve()
    steps.check_folder(folder)
    detector, checkpoint = _checked(detector, checkpoint)
    own, found = detector_config(detector), named_videos([str(video) for video in videos], folder)
    if labels is not None:
        steps.check_labels(labels, own, checkpoint, found)
    with _training_device(device) as device, occupy(folder, 'adaptation', '--out'):
        labels = None if labels is None else str(labels)
        runtime = runtime or default_runtime(device)
        job = Job(folder, own, Path(detector).stem, device, minutes, fps, labels, runtime)
        if adapt_detector:
            checkpoint = train_detector(job, checkpoint, found)
        choices = steps.choose_videos(job, found, checkpoint, not no_training)
        is_trained = (folder / 'last.pth').is_file()
        table = steps.measure_points(job, choices, is_trained)
        steps.recommend(job, table)
        if not (no_training or is_trained):
            steps.choose_network(job, choices, table)
            job.log(f'training {"can" if choices.pays else "cannot"} pay: {choices.why}')
            if (choices.pays or anyway) and not plan_only:
                steps.train_network(job, choices)
                table = steps.measure_points(job, choices, True)
                steps.recommend(job, table)
        inferencer = VideoInferencer(folder, device=device, show_progress=False)
        if not (folder / 'video.mp4').exists():
            job.log('rendering a clip')
            _render(inferencer, choices.clips[0], folder / 'video.mp4')
    print(
        f'{folder / "report.md"}, {folder / "report.png"}, {folder / "video.mp4"}. The folder '
        f'runs {inferencer.point}:\n  semidff-demo VIDEO {folder} --out boxes.mp4\n  '
        f'VideoInferencer({str(folder)!r})',
        flush=True,
    )
    return folder


def _checked(detector: str, checkpoint: str | Path) -> tuple[str, str]:
    """Return absolute paths of a detector, which exists."""
    is_address = '://' in str(checkpoint)
    checkpoint = str(checkpoint) if is_address else os.path.abspath(checkpoint)
    detector = os.path.abspath(detector) if Path(detector).is_file() else detector
    missing = not is_address and not Path(checkpoint).is_file()
    if missing and (address := published_weights(detector)):
        raise FileError(
            f'{checkpoint}: there is no such file; the weights that mmdetection publishes are at '
            f'{address}, which may be given instead'
        )
    return detector, checkpoint


def _render(inferencer: VideoInferencer, clip: Clip, out: Path) -> None:
    """Draw what the recommended operating point detects in a clip."""
    with closing(open_video(clip.path)) as stream:
        rate = stream.fps
    for _ in inferencer(islice(clip.images(), _RENDERED), out_video=out, fps=rate):
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
