"""Metrics of a test as a json file."""

import math
from pathlib import Path
from typing import Any

from .atomic_write import write_json


def write_metrics(metrics: dict, path: str | Path) -> None:
    """Writes metrics as standard json; the file appears only when it is complete.

    Args:
        metrics (dict): What the test loop returned; arrays become lists, NaN becomes null.
        path (str | Path): The file.
    """
    write_json(_plain(metrics), path, indent=2)


def _plain(value: Any) -> Any:
    if hasattr(value, 'tolist'):  # arrays and scalars of numpy and torch
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
