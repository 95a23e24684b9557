"""Files of results, written while the videos run; they get their names when they are complete."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from semidff.utils.atomic_write import atomic_write

from .base import Output, Result
from .detections import TextOutput, detections_json
from .label_maps import LabelMaps, check_label_folder
from .video import Draw, VideoOutput, check_out_video


@contextmanager
def open_outputs(
    classes: Sequence[str],
    draw: Draw,
    out_video: str | Path | None = None,
    out_json: str | Path | None = None,
    out_txt: str | Path | None = None,
    out_labels: str | Path | None = None,
    fps: float | None = None,
) -> Iterator[list[Output]]:
    """Open the requested outputs. An error in the block leaves no unfinished file behind.

    Args:
        draw: Returns the picture of a frame (H, W, 3) uint8 BGR and its result.
        out_video: Annotated mp4; without suffix a folder with a file for each video.
        out_json: COCO-VID json, see :class:`~semidff.inference.outputs.detections.DetectionsJson`.
        out_txt: Detections in the ILSVRC format.
        out_labels: Folder of label maps, see :class:`~semidff.inference.outputs.label_maps.LabelMaps`.
        fps: Frame rate of the mp4 files; None: that of the videos.
    """
    with ExitStack() as stack:
        outputs: list[Output] = []
        if out_video is not None:
            outputs.append(stack.enter_context(VideoOutput(out_video, draw, rate=fps)))
        if out_json is not None:
            outputs.append(stack.enter_context(detections_json(out_json, classes)))
        if out_txt is not None:
            outputs.append(TextOutput(stack.enter_context(atomic_write(out_txt))))
        if out_labels is not None:
            outputs.append(stack.enter_context(LabelMaps(out_labels)))
        yield outputs


def check_kinds(
    prediction: str,
    boxes: str | Path | None,
    labels: str | Path | None,
    inputs: Sequence[str | None] = (),
) -> None:
    """Refuse outputs for boxes of a segmentation network, and for labels of a detector or among the frames.

    Args:
        prediction: What the model predicts, ``pred_instances`` or ``pred_sem_seg``.
        boxes: An output for boxes, if there is one.
        labels: An output for label maps, if there is one.
        inputs: Video files or folders of frames; None for other inputs.

    Raises:
        ValueError: If the model does not predict what one of them needs.
        FileError: If label maps would be written among the frames of an input.
    """
    if labels:
        check_label_folder(labels, inputs)
    segments = prediction == 'pred_sem_seg'
    if wrong := boxes if segments else labels:
        found, remedy = 'boxes', 'out_json (--json), out_txt (--txt)'
        if segments:
            found, remedy = 'label maps', 'out_labels (--labels)'
        raise ValueError(f'{wrong}: this model predicts {found}; use {remedy} or out_video (--out)')
