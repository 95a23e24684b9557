"""Command-line options that several tools share."""

import argparse

import torch
from mmengine.config import DictAction


def add_model_arguments(parser: argparse.ArgumentParser, config: str = 'the config') -> None:
    """Add ``--device`` and ``--cfg-options`` to the parser of a tool that runs models.

    Args:
        parser: The tool's parser.
        config: The config, or configs, whose settings are replaced, for the help text.
    """
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='where to run (default: a GPU if available)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help=f'settings that replace those of {config}',
    )
