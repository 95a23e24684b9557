"""Lines in the log of mmengine."""

import logging

from mmengine.logging import print_log


def log_warning(text: str) -> None:
    """Write a warning to the current log."""
    print_log(text, 'current', logging.WARNING)


def log_event(text: str) -> None:
    """Write a line that may come again. Of equal warnings, mmengine shows the first, and keeps all in memory."""
    print_log(text, 'current', logging.INFO)
