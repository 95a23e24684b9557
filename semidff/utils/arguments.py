"""Command-line options and error handling that several tools share."""

import argparse
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from mmengine.config import DictAction

from .allocator import keep_freed_memory
from .error_messages import describe
from .safe_loading import trusted
from .tool_files import (
    CheckpointFile,
    FileError,
    InputFile,
    OutputFile,
    check_name,
    check_outputs,
    check_regular,
    marked,
    unmarked,
    writing,
)

INTERRUPTED = 130

# Options that a parser gets with the first option of a type.
_WITH_TYPE = {
    OutputFile: ('--overwrite', 'replace existing files'),
    CheckpointFile: (
        '--trust',
        'load checkpoints that can run code; only for files that you trust',
    ),
}


class OptionError(ValueError):
    """A command-line option that is wrong, or that the config does not support."""


def positive(text: str) -> int:
    """Parse an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text} is below 1')
    return value


SIZE = dict(type=positive, nargs=2, metavar=('H', 'W'))


class ToolParser(argparse.ArgumentParser):
    """Parser of a tool: has ``--debug``, and ``--overwrite`` and ``--trust`` where files of these kinds occur.

    Options for files have a type of :mod:`semidff.utils.tool_files`; :func:`run_tool` checks them.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.add_argument('--debug', action='store_true', help='show the traceback of an error')

    def add_argument(self, *names, **options) -> argparse.Action:
        kind = options.get('type')
        for mark in _WITH_TYPE:
            if isinstance(kind, type) and issubclass(kind, mark):
                self.add_option_for(mark)
        return super().add_argument(*names, **options)

    def add_number(self, name: str, default: int, help: str, metavar: str = 'N') -> None:
        """Add an option for an integer; its help ends with the default."""
        help = f'{help} (default: {default})'
        self.add_argument(name, type=int, default=default, metavar=metavar, help=help)

    def add_option_for(self, mark: type) -> None:
        """Add the option for files of a kind, ``--overwrite`` or ``--trust``, if it is not there.

        Needed only where an option's text has more than the file's name.
        """
        name, text = _WITH_TYPE[mark]
        if name not in self._option_string_actions:
            super().add_argument(name, action='store_true', help=text)


class SettingsAction(DictAction):
    """mmengine's parser of ``KEY=VALUE``, with a usage message for other texts."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        if wrong := [text for text in values if not text.partition('=')[1]]:
            parser.error(f'{option_string} {wrong[0]}: expected KEY=VALUE')
        try:
            super().__call__(parser, namespace, values, option_string)
        except Exception as error:  # mmengine's parser asserts
            parser.error(f'{option_string} {" ".join(values)}: cannot be parsed ({error})')


def detector_parser(description: str) -> ToolParser:
    """Return a parser with the arguments ``config`` and ``checkpoint`` of a video detector."""
    parser = ToolParser(description=description)
    parser.add_argument('config', type=InputFile, help='config of a video detector (stage two)')
    parser.add_argument('checkpoint', type=CheckpointFile, help='its weights')
    return parser


def add_key_intervals(parser: argparse.ArgumentParser, default: Sequence[int], help: str) -> None:
    """Add ``--key-intervals``."""
    help = f'{help} (default: {" ".join(map(str, default))})'
    parser.add_argument(
        '--key-intervals', type=int, nargs='+', default=default, metavar='L', help=help
    )


def available_device(text: str) -> str:
    """Check the name of a device.

    Raises:
        argparse.ArgumentTypeError: If it is unknown, or not available on this machine.
    """
    try:
        kind, index = torch.device(text).type, torch.device(text).index or 0
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f'{text} is no device') from error
    count = torch.cuda.device_count() if kind == 'cuda' else 1
    if kind in ('meta', 'cuda') and (kind == 'meta' or index >= count):
        raise argparse.ArgumentTypeError(f'{text} is not available on this machine')
    return text


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        '--device',
        type=available_device,
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='where to run (default: a GPU if available)',
    )


def add_cfg_options(parser: argparse.ArgumentParser, config: str = 'the config') -> None:
    """Add ``--cfg-options``, which replace the settings of ``config``, a text for the help."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=SettingsAction,
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
    parser.add_argument('--method', choices=list(methods), help=help)
    parser.add_argument(
        '--key-interval',
        type=int,
        metavar='L',
        help=f'key-frame interval l; with --adaptive, its average (default: {interval})',
    )
    parser.add_argument(
        '--adaptive',
        type=InputFile,
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


def finite(text: str) -> float:
    """Parse a finite number."""
    value = float(text)
    if not abs(value) < float('inf'):
        raise ValueError(f'{text} is not finite')
    return value


def probability(text: str) -> float:
    """Parse a number from 0 to 1."""
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not from 0 to 1')
    return float(text)


def add_score_threshold(parser: argparse.ArgumentParser) -> None:
    """Add ``--score-thr``, below which detections are not drawn."""
    parser.add_argument(
        '--score-thr',
        type=probability,
        default=0.3,
        help='detections with lower scores are not drawn (default: 0.3)',
    )


def add_timing_arguments(parser: argparse.ArgumentParser, default_video: str) -> None:
    """Add ``--video`` and ``--threads``, which :func:`prepare_timing` applies."""
    parser.add_argument(
        '--video', type=InputFile, help=f'video file or folder of frames (default: {default_video})'
    )
    parser.add_argument('--threads', type=int, help="CPU threads (default: PyTorch's choice)")


def prepare_timing(args: argparse.Namespace) -> None:
    """Configure the process for measurements of time."""
    keep_freed_memory(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)


def run_tool(work: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Run a tool after a check of its files; an error ends the process with a message and exit code 1.

    The traceback of an error is shown with ``--debug`` only. Ctrl-C and SIGTERM end the process with exit code 130.

    Args:
        work: The tool's main function.
        args: Its options, of a :class:`ToolParser`; ``debug``, ``overwrite`` and ``trust`` are removed.
    """
    options = vars(args)
    debug, overwrite, trust = (options.pop(key, False) for key in ('debug', 'overwrite', 'trust'))
    program = re.sub('.*/(?=tools/)', '', Path(sys.argv[0]).resolve().as_posix())
    logging.raiseExceptions = debug  # no tracebacks of loggers where a stream is full
    before = signal.signal(signal.SIGTERM, partial(_interrupt, os.getpid()))
    try:
        open_closed_streams()
        check_files(options, overwrite)
        outputs = list(marked(list(options.values()), OutputFile))
        for name, value in options.items():
            options[name] = unmarked(value)
        with trusted(trust), writing(outputs, overwrite, options.get('work_dir')):
            work(args)
    except KeyboardInterrupt:
        if debug:
            raise
        print(f'{program}: stopped', file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        sys.exit(f'{program}: error: {describe(error, options.get("config"))}')
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(process: int, number: int, frame: object) -> None:
    """Interrupt as Ctrl-C does; end worker processes, which inherit this handler of a signal, quietly."""
    if os.getpid() != process:
        os._exit(128 + number)
    raise KeyboardInterrupt


def check_files(options: dict, overwrite: bool) -> None:
    """Check the files among a tool's options, see :func:`~semidff.utils.tool_files.check_outputs`."""
    values = list(options.values())
    for name, value in options.items():
        if value == '' and name != 'image_suffix':
            raise FileError(f'{name.replace("_", "-")}: the text is empty')
    for value in marked(values, str):
        check_name(value)
    inputs = list(marked(values, InputFile))
    for path in inputs:
        check_regular(path)
    check_outputs(marked(values, OutputFile), inputs, overwrite, options.get('work_dir'))


def open_closed_streams() -> None:
    """Connect closed standard streams to the null device, so that no output file gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
