"""What a step's log says: how far it is, and its last lines."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_BYTES = 16384
# mmengine: 'Iter(train) [ 100/1000]', 'Epoch(test) [ 50/1000]', 'Epoch(train) [2][ 50/100]';
# any other program: '[37/200]' or '18%' as tqdm prints it.
COUNT = re.compile(r'(?:(?:Iter|Epoch)\((?P<mode>\w+)\)\s*)?\[\s*(?P<done>\d+)/\s*(?P<all>\d+)\]')
PERCENT = re.compile(r'(\d{1,3})\s?%')


def tail(path: Path, size: int = TAIL_BYTES) -> str:
    """The last bytes of a log as text; empty if there is no log yet."""
    try:
        with path.open('rb') as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - size))
            return file.read().decode(errors='replace')
    except FileNotFoundError:
        return ''


def last_lines(path: Path, count: int = 20) -> str:
    """The last lines of a log, progress bars (carriage returns) reduced to their last state."""
    lines = [line.split('\r')[-1].rstrip() for line in tail(path).rstrip().split('\n')]
    return '\n'.join(lines[-count:])


def fraction_done(text: str, mode: str | None = None) -> float | None:
    """How much of its work a step reports as done.

    Args:
        text: The end of its log.
        mode: 'train' or 'test': counts of mmengine's other loops (the validation inside a
            training, say) do not count.

    Returns:
        A number in [0, 1], None if the log says nothing.
    """
    counts = [m for m in COUNT.finditer(text) if mode is None or m['mode'] == mode]
    if counts and int(counts[-1]['all']) > 0:
        return min(1.0, int(counts[-1]['done']) / int(counts[-1]['all']))
    if mode is None and (percents := PERCENT.findall(text)):
        return min(1.0, int(percents[-1]) / 100)
    return None
