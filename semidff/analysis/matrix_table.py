"""The table of :mod:`semidff.analysis.detector_matrix`, and its cells."""

import traceback
from pathlib import Path
from typing import Any

from semidff.utils.tables import markdown_table

TITLES = dict(
    frame='*l* = 1 equals frame',
    channels_last='channels-last',
    semantic='gradients, ratio',
    onnx='ONNX',
    counted='counted *r*, *s*',
    measured='measured *r*, *s*',
)


def cell(text: str, status: str = 'ok', **figures: Any) -> dict:
    """Make a cell of the table: status ``ok``, ``failed``, ``refused`` or ``error``, with figures for JSON."""
    return dict(text=text, status=status, **figures)


def reason_of(error: Exception) -> dict:
    """Return the cell of an exception: what this package raises is a refusal, all else an error."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = Path(last.filename).is_relative_to(Path(__file__).parents[1])
    sentence = ' '.join(str(error).split())
    if ours and last.line.startswith('raise '):
        return cell('refused', 'refused', reason=sentence)
    place = f'{Path(last.filename).name}:{last.lineno}'
    return cell('ERROR', 'error', reason=f'{type(error).__name__}: {sentence[:300]} ({place})')


def failures(results: dict[str, dict]) -> list[str]:
    """Return what is neither right nor refused, a line for each."""
    return [
        f'{detector}, {split}, {name}: {found.get("reason", found["text"])}'
        for detector, rows in results.items()
        for split, cells in rows.items()
        for name, found in cells.items()
        if found['status'] in ('failed', 'error')
    ]


def markdown(results: dict[str, dict]) -> str:
    """Return the table, failures in bold, and the reasons of refusals and errors below it."""
    names = list(dict.fromkeys(n for rows in results.values() for c in rows.values() for n in c))
    names = [name for name in names if name != 'split']
    table = [('detector', 'split', *(TITLES.get(name, name) for name in names))]
    reasons: dict[str, list[str]] = {}
    for detector, rows in results.items():
        for split, cells in rows.items():
            for found in cells.values():
                if 'reason' in found:
                    reasons.setdefault(found['reason'], []).append(f'{detector} ({split})')
            if 'split' not in cells:
                row = [cells.get(name, cell('')) for name in names]
                texts = (
                    f'**{c["text"]}**' if c['status'] in ('failed', 'error') else c['text']
                    for c in row
                )
                table.append((detector, split, *texts))
    notes = [f'- {reason}: {", ".join(where)}' for reason, where in reasons.items()]
    return '\n'.join([markdown_table(table), '', *notes, ''])
