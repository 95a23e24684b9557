"""What `tools/chain.py` does with its arguments."""

from __future__ import annotations

import argparse
import sys

from .report import collect, write_report
from .runner import ChainRunner, StepFailed
from .settings import ChainError
from .spec import load_chain
from .table import by_video

INTERRUPTED = 130


def main(args: argparse.Namespace) -> int:
    """Runs the chain and prints its table.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    try:
        chain = load_chain(args.config, args.work_dir, args.cfg_options)
        runner = ChainRunner(chain, args.jobs)
        if args.list:
            print(runner.listing(args.only))
            return 0
        runner.run(args.only)
    except KeyboardInterrupt:
        print('\nStopped. The same command continues from here.', file=sys.stderr)
        return INTERRUPTED
    except (StepFailed, ChainError, OSError, ValueError, RuntimeError) as error:
        print(f'\nError: {error}', file=sys.stderr)
        return 1
    if measurements := collect(chain):
        print('\n' + write_report(measurements, chain.work_dir))
        for video, alone in by_video(measurements).items():
            print(f'{video}\n\n' + write_report(alone, chain.work_dir / 'by_video' / video))
        print(f'Written to {chain.work_dir}: table.md, table.json, table.png')
    return 0
