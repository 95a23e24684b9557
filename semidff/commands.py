"""Console commands ``semidff-...`` and files of tools/: each calls a function of the package."""

import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .utils.command_line import parse
from .utils.error_messages import describe
from .utils.stopping import interrupted_by_signals

INTERRUPTED = 130

FUNCTIONS: dict[str, str | dict[str, str]] = dict(
    train='semidff.apis.runs.train',
    test='semidff.apis.runs.test',
    convert_checkpoint=dict(
        mxnet='semidff.converters.mxnet.checkpoint.convert_file',
        join='semidff.converters.fit.join_checkpoints',
    ),
    convert_dataset={
        'imagenet-vid': 'semidff.converters.ilsvrc.convert_vid',
        'imagenet-det': 'semidff.converters.ilsvrc.convert_det',
        'cityscapes': 'semidff.converters.cityscapes.convert_cityscapes',
    },
    demo='semidff.apis.detect.detect',
    eval_detections='semidff.evaluation.vid_evaluator.evaluate_detections_file',
    export_onnx='semidff.apis.export.export_detector',
    adapt='semidff.apis.adaptation.adapt',
    operating_points='semidff.apis.points.operating_points',
    speed='semidff.apis.points.speed',
    make_synthetic='semidff.synthetic.build.make_synthetic',
    complexity='semidff.points.complexity.report_complexity',
    show_propagation='semidff.apis.propagation.show_propagation',
    tables='semidff.points.experiment_tables.make_tables',
)
_TRAIN = ('train', 'adapt')


def run(target: str | dict[str, str], trains: bool = False) -> None:
    """Call a function with the command line of the process; print a result with a text.

    An error ends the process with a message and exit code 1, with ``--debug`` with its traceback;
    an error of usage with 2; Ctrl-C and SIGTERM with 130.

    Args:
        target: Full name of the function, or a dict of sub-commands and full names.
        trains: Whether PyTorch's threads sleep while they wait for one another. By default they
            spin, and a training beside another busy process takes several times as long.
    """
    options = parse(target, sys.argv[1:])
    if trains:
        os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # read when PyTorch is loaded
    command, debug = options['command'], options.get('debug', False)
    program = re.sub('.*/(?=tools/)', '', Path(sys.argv[0]).resolve().as_posix())
    stopped: list[int] = []
    try:
        with interrupted_by_signals(stopped):
            import torch
            from mmengine.device import get_device

            from .checkpoints.safe import safe_loading, trusted
            from .compat import quiet  # noqa: F401 (before mmdet)
            from .utils.allocator import keep_freed_memory
            from .utils.threads import use_idle_cores

            if 'device' in command.names:
                device = options.setdefault('device', get_device())
                keep_freed_memory(device)
            if threads := options.get('threads'):
                torch.set_num_threads(threads)
            elif options.get('device', 'cpu' if trains else None) == 'cpu':
                use_idle_cores()
            if debug and 'launcher' in command.names:
                options['cfg_options'] = ['log_level=DEBUG', *options.get('cfg_options', ())]
            with trusted(options.get('trust', False)), safe_loading():
                result = command.call(options)
                if type(result).__str__ is not object.__str__:
                    print(result)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        # mmengine turns an interruption while it formats a config into a SyntaxError.
        if stopped or isinstance(error, KeyboardInterrupt):
            print(f'{program}: stopped', file=sys.stderr)
            sys.exit(INTERRUPTED)
        sys.exit(f'{program}: error: {describe(error)}')


def __getattr__(name: str) -> Callable[[], None]:
    """Return a command, a function that reads the arguments of the process."""
    if name not in FUNCTIONS:
        raise AttributeError(name)
    return partial(run, FUNCTIONS[name], name in _TRAIN)
