"""Renders results of a test into one mp4 file per video."""

from pathlib import Path

import cv2
from mmdet.structures import DetDataSample

from semidff.utils.video_writer import VideoWriter

from .frames import render_frame


class ResultRenderer:
    """Renders finished results of the first videos into one mp4 file per video.

    Frames are read again from ``img_path``.

    Args:
        out_dir (str | Path): Folder of the mp4 files, named after the videos.
        classes (tuple[str]): Class names.
        max_videos (int | None): How many videos; None for all.
        fps (float): Frames per second of the files.
        score_thr (float): Detections with lower scores are not drawn.
        with_flow (bool): Whether the feature flow is shown beside the frames; samples then carry
            ``feature_flow``, (2, h, w) in cells.
    """

    def __init__(
        self,
        out_dir: str | Path,
        classes: tuple[str, ...],
        max_videos: int | None = None,
        fps: float = 10.0,
        score_thr: float = 0.3,
        with_flow: bool = False,
    ) -> None:
        self.out_dir = Path(out_dir)
        self.classes = classes
        self.max_videos = max_videos
        self.fps = fps
        self.score_thr = score_thr
        self.with_flow = with_flow
        self.videos = 0
        self._writer: VideoWriter | None = None

    def start(self, name: str) -> None:
        """Begins a video; the one before is finished.

        Args:
            name (str): Name of the video; slashes become underscores.
        """
        self.finish()
        if self.max_videos is None or self.videos < self.max_videos:
            self.videos += 1
            name = str(name).strip('/').replace('/', '_')
            self._writer = VideoWriter(self.out_dir / f'{name}.mp4', self.fps)

    def add(self, sample: DetDataSample) -> None:
        """Draws the next frame of the video that was begun last.

        Args:
            sample (DetDataSample): A result of the video engine.

        Raises:
            OSError: If the frame's image cannot be read.
        """
        if self._writer is None:
            return
        image = cv2.imread(sample.img_path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise OSError(f'{sample.img_path}: cannot be read as an image; nothing to draw on')
        frame = render_frame(
            image,
            sample,
            self.classes,
            sample.is_key_frame,
            self.score_thr,
            ('flow',) if self.with_flow else (),
        )
        self._writer.write(frame)

    def finish(self, keep: bool = True) -> None:
        """Closes the file of the current video; with ``keep=False`` it is removed."""
        if self._writer is not None:
            self._writer.close(keep)
            self._writer = None
