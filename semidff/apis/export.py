"""Export of a video detector from its files."""

from pathlib import Path

from semidff.datasets.class_names import class_names
from semidff.deployment import ExportedGraphs, ExportError, export_onnx, sample_batches
from semidff.deployment import verify as compare
from semidff.utils.checkpoint import load_for_test, read_checkpoint
from semidff.utils.command_line import Checkpoint, Count, Input, Output
from semidff.utils.model_building import build_video_detector


def export_detector(
    config: Input,
    checkpoint: Checkpoint | None = None,
    *,
    out: Output,
    shape: tuple[Count, Count] | None = None,
    video: Input | None = None,
    verify: bool = False,
    frames: Count = 5,
) -> str:
    """Export a video detector as two ONNX graphs, one for key frames and one for non-key frames.

    Writes key.onnx, non_key.onnx and video_detector.json (names, shapes, normalization) to a folder. The graphs end
    before proposals, RoIs and NMS, and take frames of one size.

    Args:
        config: Config of a video detector (stage two), or a folder of tools/adapt.py.
        checkpoint: Its weights; not needed with a folder.
        out: Folder for the files.
        shape: Height and width of the frames after the test pipeline, before padding (default: those of the --video's
            frames, else the scale of the pipeline's Resize).
        video: Video file or folder of frames, for size and --verify.
        verify: Run both graphs in onnxruntime and compare them with PyTorch; the exit code is 1 if an output differs by
            1e-3 or more.
        frames: Number of frames for --verify, the first one a key frame.

    Returns:
        A report.

    Raises:
        ExportError: The graphs differ from PyTorch.
    """
    if Path(config).is_dir():
        config, checkpoint = Path(config) / 'config.py', checkpoint or Path(config) / 'last.pth'
    model = build_video_detector(config)
    state, meta = read_checkpoint(checkpoint)
    load_for_test(model, checkpoint, needs_temporal=True, state=state)
    batches = sample_batches(model.cfg, frames, shape, video)
    size = batches[0]['inputs'][0].shape[-2:]
    about = export_onnx(model, out, size, class_names(model.cfg, meta))
    lines = [
        f'{path}: {path.stat().st_size / 2**20:.1f} MB' for path in sorted(Path(out).glob('*.onnx'))
    ]
    lines.append('frames enter as 1 x 3 x {} x {}'.format(*about.shape))
    if verify:
        report = compare(model, ExportedGraphs(model, out), batches)
        lines.append(str(report))
        if not report.equal:
            raise ExportError('\n'.join([*lines, 'the graphs differ from PyTorch']))
    return '\n'.join(lines)
