"""Walks through videos frame by frame with key frames in between (DFF Algorithm 1)."""

import torch
from mmdet.structures import DetDataSample
from torch import nn

from semidff.models.video_detector import VideoDetector

from .centred import Centred
from .coast import Coast
from .copy_boxes import CopyBoxes
from .frame_by_frame import FrameByFrame
from .interpolate import Interpolate
from .method import MethodError, VideoMethod
from .propagation import Propagation
from .schedules import FixedSchedule, KeyFrameSchedule
from .shallow_flow import ShallowFlowFast, ShallowFlowSlow
from .timing import FrameTimer

METHODS: dict[str, type[VideoMethod]] = {
    'propagate': Propagation,
    'frame': FrameByFrame,
    'copy': CopyBoxes,
    'coast': Coast,
    'interpolate': Interpolate,
    'centred': Centred,
    'sff-fast': ShallowFlowFast,
    'sff-slow': ShallowFlowSlow,
}


def shows_flow(method: str) -> bool:
    """Whether results of a method can carry the feature flow."""
    return issubclass(METHODS.get(method, object), Propagation)


class VideoEngine:
    """Gives detections for every frame of a video.

    Args:
        model (nn.Module): A ``VideoDetector``, or any mmdet detector for the methods that need no
            temporal module.  It is put into eval mode.
        method (str): ``propagate`` (features carried by the temporal module), ``frame`` (spatial
            module on every frame), ``copy``, ``coast``, ``interpolate``, ``centred`` (features
            carried from the nearer key frame, offline), ``sff-fast`` or ``sff-slow`` (features carried by
            OpenCV's optical flow).
        key_interval (int): Key-frame duration l; ``frame`` ignores it.
        schedule (KeyFrameSchedule | None): Another schedule than every ``key_interval`` frames.
        timer (FrameTimer | None): Where times are collected; a new one by default.
        keep_flow (bool): Whether propagated results carry ``feature_flow`` (2, h, w), for pictures;
            without effect for methods that propagate none.

    Raises:
        MethodError: If the method is unknown or needs a temporal module that is not there.

    Example:
        >>> engine = VideoEngine(model, 'propagate', key_interval=10)
        >>> for data in frames_of_one_video:  # collated test batches of one frame
        ...     results += engine.push(data)
        >>> results += engine.flush()
        >>> engine.reset()  # before the next video
    """

    def __init__(
        self,
        model: nn.Module,
        method: str = 'propagate',
        key_interval: int = 10,
        schedule: KeyFrameSchedule | None = None,
        timer: FrameTimer | None = None,
        keep_flow: bool = False,
    ) -> None:
        if method not in METHODS:
            raise MethodError(f'unknown method {method!r}; choose one of {", ".join(METHODS)}')
        if not isinstance(model, VideoDetector):
            model = VideoDetector.wrap(model)
        self.model = model.eval()
        options = {'keep_flow': keep_flow} if shows_flow(method) else {}
        self.method = METHODS[method](model, **options)
        self.schedule = schedule or FixedSchedule(1 if method == 'frame' else key_interval)
        self.timer = timer or FrameTimer()
        self._index = 0

    def reset(self) -> None:
        """Begins a new video; results that were not flushed are lost."""
        self.method.reset()
        self._index = 0

    @torch.no_grad()
    def push(self, data: dict) -> list[DetDataSample]:
        """Takes the next frame.

        Args:
            data (dict): Collated test batch of one frame: ``inputs``, a list with one uint8 tensor
                (3, H, W), and ``data_samples``, a list with its ``DetDataSample``.

        Returns:
            list[DetDataSample]: Results finished by now, in frame order.  Each has
            ``pred_instances`` (boxes in the original image) and the metainfo ``is_key_frame``.

        Raises:
            ValueError: If the batch does not hold exactly one frame.
        """
        if len(data['data_samples']) != 1:
            raise ValueError(
                f'a batch with {len(data["data_samples"])} frames; videos are walked frame by '
                'frame: set batch_size=1 in the data loader'
            )
        is_key = self._index == 0 or self.schedule.is_key(self._index, data)
        self._index += 1
        if is_key or self.method.reads_current_frames:
            data = self.model.data_preprocessor(data, False)
            inputs = data['inputs']
        else:
            inputs = None
        sample = data['data_samples'][0]
        sample.set_metainfo({'is_key_frame': is_key})
        with self.timer.measure(is_key, self._device()):
            return (
                self.method.key(inputs, sample) if is_key else self.method.current(inputs, sample)
            )

    def flush(self) -> list[DetDataSample]:
        """Results of the video's last frames that :meth:`push` could not give yet."""
        return self.method.flush()

    def close(self) -> None:
        """Leaves the model as it was (but in eval mode)."""
        self.method.close()

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device
