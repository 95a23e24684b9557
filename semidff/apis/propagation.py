"""Figures of propagation on videos."""

from collections.abc import Sequence
from contextlib import closing

from semidff.datasets.video_readers import Frame, open_video
from semidff.inference.methods.base import MethodError
from semidff.utils.atomic_write import atomic_path
from semidff.utils.command_line import Checkpoint, Input, Output
from semidff.visualization.propagation import draw_propagation, view_pair

from .video_inferencer import VideoInferencer


def show_propagation(
    config: Input,
    checkpoint: Checkpoint | None,
    video: Input,
    *,
    key: int,
    current: Sequence[int],
    out: Output,
    level: int = 0,
    channel: int | None = None,
    score_thr: float = 0.3,
    device: str | None = None,
) -> str:
    """Draw the propagation from a key frame to other frames of a video.

    For each current frame: key frame, current frame with the student's and the teacher's
    detections, feature flow with its color wheel, scale field, the features of the key frame, the
    propagated ones and the teacher's, and the errors.

    Args:
        config: Config of a video detector (stage two), or a folder of tools/adapt.py.
        checkpoint: Its weights; not needed with a folder.
        video: Video file or folder of frames.
        key: Number of the key frame, from 0.
        current: Numbers of the current frames, before or after the key frame.
        out: The picture (.png, .pdf, .svg).
        level: Level of the features; 0 is the finest.
        channel: Channel of the features that is drawn (default: the mean over channels).
        score_thr: Detections with lower scores are not drawn.
        device: Where to run (default: a GPU if available).

    Returns:
        The figures of each current frame.
    """
    inferencer = VideoInferencer(config, checkpoint, device, method='propagate')
    model = inferencer.model
    if not hasattr(model.temporal, 'fields'):
        name = type(model.temporal).__name__
        raise MethodError(f'{name} has no feature flow to show; give a config with TemporalModule')
    indices = [key, *current]
    with closing(open_video(video)) as reader:
        images = reader.frames(indices)
    first, *others = (
        model.data_preprocessor(
            inferencer.preprocess(Frame(image, index, 0.0), key_frame_id=key), False
        )
        for index, image in zip(indices, images, strict=True)
    )
    views = []
    for other, image in zip(others, images[1:], strict=True):
        inputs = first['inputs'], other['inputs'], other['data_samples'][0]
        views.append(view_pair(model, *inputs, (images[0], image), level=level))
    with atomic_path(out) as path:
        figure = draw_propagation(views, model.dataset_meta['classes'], score_thr, channel)
        figure.savefig(path)
    lines = []
    for view in views:
        errors = [view.feature_error(f) for f in (view.key_features, view.propagated)]
        scaling = '-' if view.scale is None else f'{view.mean_scaling():.3f}'
        lines.append(
            f'key frame {key}, current frame {view.names[1]}: motion {view.mean_motion():.2f} '
            f'pixels, |S - 1| {scaling}, feature error {errors[0]:.1%} before the warp, '
            f'{errors[1]:.1%} propagated'
        )
    return '\n'.join([*lines, f'Written: {out}'])
