"""Command-line options and error handling that several tools share."""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from mmengine.config import DictAction

from .allocator import keep_freed_memory
from .deprecation import renamed_method

SIZE = dict(type=int, nargs=2, metavar=('H', 'W'))


def detector_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments ``config`` and ``checkpoint`` of a video detector."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config of a video detector (stage two)')
    parser.add_argument('checkpoint', help='its weights')
    return parser


def add_key_intervals(
    parser: argparse.ArgumentParser, default: int | Sequence[int], help: str
) -> None:
    """Add ``--key-interval``, or ``--key-intervals`` where the default is a sequence."""
    several = not isinstance(default, int)
    shown = ' '.join(map(str, default)) if several else default
    parser.add_argument(
        '--key-intervals' if several else '--key-interval',
        type=int,
        nargs='+' if several else None,
        default=default,
        metavar='L',
        help=f'{help} (default: {shown})',
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='where to run (default: a GPU if available)',
    )


def add_cfg_options(parser: argparse.ArgumentParser, config: str = 'the config') -> None:
    """Add ``--cfg-options``, which replace the settings of ``config``, a text for the help."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help=f'settings that replace those of {config}',
    )


def add_model_arguments(parser: argparse.ArgumentParser, config: str = 'the config') -> None:
    """Add ``--device`` and ``--cfg-options`` to the parser of a tool that runs models."""
    add_device(parser)
    add_cfg_options(parser, config)


def add_method_arguments(
    parser: argparse.ArgumentParser, methods: Iterable[str], help: str, interval: str | int
) -> None:
    """Add the options for a method and its key frames, with None as their defaults.

    Args:
        methods: Names of the methods.
        help: Help on the methods.
        interval: The default key-frame interval that the help names.
    """
    parser.add_argument('--method', type=renamed_method, choices=list(methods), help=help)
    parser.add_argument(
        '--key-interval',
        type=int,
        metavar='L',
        help=f'key-frame interval l; with --adaptive, its average (default: {interval})',
    )
    parser.add_argument(
        '--adaptive',
        metavar='FILE',
        help='choose key frames by the predicted error of propagation; FILE is made by '
        'tools/analysis/fit_adaptive.py',
    )
    parser.add_argument(
        '--scene-cuts',
        action='store_const',
        const=True,
        help='add a key frame at each scene cut',
    )


def add_score_threshold(parser: argparse.ArgumentParser) -> None:
    """Add ``--score-thr``, below which detections are not drawn."""
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='detections with lower scores are not drawn (default: 0.3)',
    )


def add_timing_arguments(parser: argparse.ArgumentParser, default_video: str) -> None:
    """Add ``--video`` and ``--threads``, which :func:`prepare_timing` applies."""
    parser.add_argument(
        '--video', help=f'video file or folder of frames (default: {default_video})'
    )
    parser.add_argument('--threads', type=int, help="CPU threads (default: PyTorch's choice)")


def prepare_timing(args: argparse.Namespace) -> None:
    """Configure the process for measurements of time."""
    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)


def run_tool(
    work: Callable[[argparse.Namespace], None],
    args: argparse.Namespace,
    errors: tuple[type[Exception], ...] = (OSError, ValueError),
    prefix: str | None = None,
) -> None:
    """Run a tool; a user's mistake ends the process with a message and exit code 1.

    Args:
        work: The tool's main function.
        args: Its options.
        errors: Exceptions that are a user's mistakes, besides those that this package defines.
        prefix: Text before the message; default: the tool's name.
    """
    try:
        work(args)
    except Exception as error:
        if not (isinstance(error, errors) or type(error).__module__.startswith('semidff.')):
            raise
        program = re.sub('.*/(?=tools/)', '', Path(sys.argv[0]).resolve().as_posix())
        sys.exit(f'{program}: error: {error}' if prefix is None else f'{prefix}{error}')
