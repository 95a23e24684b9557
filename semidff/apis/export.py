"""Export of a video detector from its files."""

from contextlib import closing
from pathlib import Path

from mmengine.config import Config

from semidff.checkpoints.building import build_video_detector
from semidff.checkpoints.detectors import test_datasets
from semidff.checkpoints.read import read_checkpoint
from semidff.checkpoints.strict import load_for_test
from semidff.datasets.class_names import class_names
from semidff.datasets.video_readers import open_video
from semidff.deployment import export_onnx
from semidff.inference.loading import frame_pipeline, pair
from semidff.utils.command_line import Checkpoint, Count, Input, Output


def export_detector(
    config: Input,
    checkpoint: Checkpoint | None = None,
    *,
    out: Output,
    shape: tuple[Count, Count] | None = None,
    video: Input | None = None,
) -> str:
    """Export a video detector as two ONNX graphs, one for key frames and one for non-key frames.

    Writes key.onnx, non_key.onnx and video_detector.json (names, shapes, normalization) to a
    folder. The graphs end before proposals, RoIs and NMS, and take frames of one size.

    Args:
        config: Config of a video detector (stage two), or a folder of tools/adapt.py.
        checkpoint: Its weights; not needed with a folder.
        out: Folder for the files.
        shape: Height and width of the frames after the test pipeline, before padding (default:
            those of the --video's frames, else the scale of the pipeline's Resize).
        video: Video file or folder of frames, for their shape.

    Returns:
        A report.
    """
    if Path(config).is_dir():
        config, checkpoint = Path(config) / 'config.py', checkpoint or Path(config) / 'last.pth'
    model = build_video_detector(config)
    state, meta = read_checkpoint(checkpoint)
    load_for_test(model, checkpoint, needs_temporal=True, state=state)
    size = frame_shape(model.cfg, shape, video)
    about = export_onnx(model, out, size, class_names(model.cfg, meta))
    lines = [
        f'{path}: {path.stat().st_size / 2**20:.1f} MB' for path in sorted(Path(out).glob('*.onnx'))
    ]
    lines.append('frames enter as 1 x 3 x {} x {}'.format(*about.shape))
    return '\n'.join(lines)


def frame_shape(
    config: Config, shape: tuple[int, int] | None, video: str | None
) -> tuple[int, int]:
    """Return height and width of the frames that leave a test pipeline."""
    if shape is not None:
        return tuple(shape)
    if video is not None:
        with closing(open_video(video)) as reader:
            (image,) = reader.frames([0])
        return tuple(frame_pipeline(config)(dict(img=image))['inputs'].shape[-2:])
    steps = next(iter(test_datasets(config)), {}).get('pipeline') or ()
    scales = [step['scale'] for step in steps if step.get('scale') is not None]
    if not scales:
        raise ValueError(
            'the test pipeline has no Resize with a scale, so the size of frames is unknown: give '
            '--shape H W or a --video'
        )
    width, height = pair(scales[0])
    return height, width
