"""Lines in the log of mmengine."""

import logging

from mmengine.logging import print_log


def log_warning(text: str) -> None:
    """Write a warning to the current log."""
    print_log(text, 'current', logging.WARNING)


def log_event(text: str) -> None:
    """Log a line that may repeat; mmengine shows and keeps only the first of equal warnings."""
    print_log(text, 'current', logging.INFO)
