"""Videos that fail while others are processed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from semidff.datasets.video_list import first_errors
from semidff.datasets.video_readers import VideoError
from semidff.utils.files import without_secrets
from semidff.utils.logs import log_warning


def is_of_video(error: Exception, model: nn.Module) -> bool:
    """Return whether an error concerns a video alone, not memory, disk or GPU."""
    of_gpu = isinstance(error, RuntimeError) and next(model.parameters()).is_cuda
    return not (of_gpu or isinstance(error, OSError | MemoryError))


class Failures:
    """Failed videos of a list: each is logged and skipped, and in the end they are an error.

    Args:
        count: Number of videos. The error of a single video is raised at once.
    """

    def __init__(self, model: nn.Module, count: int) -> None:
        self._model, self._count, self._errors = model, count, []

    @contextmanager
    def skipped(self, video: Any) -> Iterator[None]:
        """Skip a video if the block raises an error of it."""
        try:
            yield
        except Exception as error:
            if self._count == 1 or not is_of_video(error, self._model):
                raise
            if not isinstance(error, VideoError):
                name = without_secrets(video) if isinstance(video, str | Path) else 'frames'
                error = VideoError(name, str(error) or type(error).__name__)
            log_warning(f'{error}; the other videos follow')
            self._errors.append(error)

    def check(self) -> None:
        """Raise a :class:`VideoError` that counts the failed videos and names the first."""
        if self._errors:
            failed = f'{len(self._errors)} of {self._count} videos failed'
            raise VideoError(failed, f'\n{first_errors(self._errors)}')
