"""Warnings in the log of mmengine."""

import logging

from mmengine.logging import print_log


def log_warning(text: str) -> None:
    """Write a warning to the current log."""
    print_log(text, 'current', logging.WARNING)
