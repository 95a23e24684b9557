"""Command-line options and error handling that the tools share.

A tool parses its arguments before it imports PyTorch and mmdetection, so that its help and its errors of usage appear
at once: its ``main`` imports what it needs.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .command_line import INTERRUPTED, parse_settings
from .error_messages import FileError, describe
from .files import check_outputs
from .stopping import interrupted_by_signals

PRECISIONS = ('fp32', 'bf16', 'fp16')
RUNTIMES = ('torch', 'onnxruntime', 'openvino')


def positive(text: str) -> int:
    """Parse an integer of at least 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is below 1')
    return int(text)


SIZE = dict(type=positive, nargs=2, metavar=('H', 'W'))


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults of options that have some."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = action.default not in (None, False, (), [])
        return super()._get_help_string(action) if has_default else action.help


class ToolParser(argparse.ArgumentParser):
    """Parser of a tool: has ``--debug``, ``--trust`` if it reads checkpoints, ``--overwrite`` if it writes files.

    An output that is an input, or that exists without ``--overwrite``, is an error of usage.
    """

    def __init__(self, **options) -> None:
        super().__init__(formatter_class=_HelpFormatter, **options)
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.add_flag('--debug', 'show the traceback of an error and the whole log of mmengine')

    def add_flag(self, name: str, help: str) -> None:
        """Add an option without value."""
        self.add_argument(name, action='store_true', help=help)

    def add_value(self, name: str, default: Any, help: str, metavar: str | None = None) -> None:
        """Add an option with a default, whose type it has; in place of a list it takes several values.

        Integers with a default above 0 must be at least 1.
        """
        several = isinstance(default, list)
        first, nargs = default[0] if several else default, '+' if several else None
        kind = positive if isinstance(first, int) and first > 0 else type(first)
        self.add_argument(name, type=kind, nargs=nargs, default=default, metavar=metavar, help=help)

    def add_input(self, *names: str, **options) -> None:
        """Add an option for a file or folder that the tool reads."""
        self.inputs.append(self.add_argument(*names, **options).dest)

    def add_checkpoint(self, *names: str, **options) -> None:
        """Add an option for a checkpoint that the tool reads."""
        self.add_trust()
        self.add_input(*names, **options)

    def add_output(self, *names: str, **options) -> None:
        """Add an option for a file, or for a folder of nothing but results, that the tool writes."""
        if not self.outputs:
            self.add_flag('--overwrite', 'replace existing outputs')
        self.outputs.append(self.add_argument(*names, **options).dest)

    def add_trust(self) -> None:
        """Add ``--trust``; needed only where checkpoints are named in other options."""
        if '--trust' not in self._option_string_actions:
            self.add_flag('--trust', 'load checkpoints that can run code; only if you trust them')

    def parse_known_args(self, args=None, namespace=None) -> tuple[argparse.Namespace, list[str]]:
        parsed, others = super().parse_known_args(args, namespace)
        inputs, outputs = (
            [path for name in names for path in _paths(getattr(parsed, name))]
            for names in (self.inputs, self.outputs)
        )
        try:
            check_outputs(outputs, inputs, getattr(parsed, 'overwrite', False))
        except FileError as error:
            self.error(str(error))
        return parsed, others


def _paths(value: str | Sequence[str] | None) -> Sequence[str]:
    return [value] if isinstance(value, str) else value or []


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``; :func:`run_tool` replaces the default."""
    parser.add_argument('--device', help='where to run (default: a GPU if available)')


def add_runtime(parser: argparse.ArgumentParser, by_default: str, **options: Any) -> None:
    help = f'what computes the frames (default: {by_default})'
    parser.add_argument('--runtime', choices=RUNTIMES, help=help, **options)


def add_cfg_options(parser: argparse.ArgumentParser, config: str = 'the config') -> None:
    """Add ``--cfg-options``, which replace the settings of ``config``, a text for the help."""
    help = f'settings that replace those of {config}'
    parser.add_argument('--cfg-options', type=_setting, nargs='+', metavar='KEY=VALUE', help=help)


def _setting(text: str) -> str:
    if '=' not in text:
        raise argparse.ArgumentTypeError(f'{text}: expected KEY=VALUE')
    return text


def add_measuring_arguments(parser: argparse.ArgumentParser, config: str = 'the config') -> None:
    """Add ``--device``, ``--threads`` and ``--cfg-options`` to the parser of a tool that measures models."""
    add_device(parser)
    parser.add_argument('--threads', type=int, help='CPU threads (default: idle cores)')
    add_cfg_options(parser, config)


def run_tool(
    work: Callable[[argparse.Namespace], None], args: argparse.Namespace, trains: bool = False
) -> None:
    """Run a tool's main function; an error ends the process with a message and exit code 1.

    The traceback of an error is shown with ``--debug`` only. Ctrl-C and SIGTERM end the process with exit code 130. The
    options ``debug``, ``trust``, ``overwrite`` and ``threads`` are applied here and in the parser and removed. If the
    tool trains, PyTorch's threads sleep while they wait for one another. By default they spin, and a training beside
    another busy process takes several times as long.
    """
    if trains:
        os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # read when PyTorch is loaded
    options = vars(args)
    debug, trust, _, threads = (
        options.pop(name, None) for name in ('debug', 'trust', 'overwrite', 'threads')
    )
    program = re.sub('.*/(?=tools/)', '', Path(sys.argv[0]).resolve().as_posix())
    stopped: list[int] = []
    try:
        with interrupted_by_signals(stopped):
            import torch
            from mmengine.device import get_device

            from .allocator import keep_freed_memory
            from .safe_loading import safe_loading, trusted
            from .threads import use_idle_cores

            if 'device' in options:
                options['device'] = options['device'] or get_device()
                keep_freed_memory(options['device'])
            if threads:
                torch.set_num_threads(threads)
            elif options.get('device', 'cpu' if trains else None) == 'cpu':
                use_idle_cores()
            if options.get('cfg_options'):
                options['cfg_options'] = parse_settings(options['cfg_options'])
            with trusted(bool(trust)), safe_loading():
                work(args)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        # mmengine turns an interruption while it formats a config into a SyntaxError.
        if stopped or isinstance(error, KeyboardInterrupt):
            print(f'{program}: stopped', file=sys.stderr)
            sys.exit(INTERRUPTED)
        sys.exit(f'{program}: error: {describe(error)}')
