"""Measure the speed of several detectors, methods and key-frame intervals, interleaved in one process.

Each round runs one clip of every row, so that all rows see the same load of the machine. Measured are the forward pass
and post-processing at batch 1.
"""

import argparse
import sys

import torch

from semidff.analysis.measure_speed import SpeedRow, measure_speed
from semidff.datasets.video_readers import VideoError
from semidff.utils.allocator import keep_freed_memory
from semidff.utils.arguments import add_model_arguments
from semidff.utils.atomic_write import write_json
from semidff.utils.checkpoint import CheckpointError
from semidff.utils.tables import text_table


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--row',
        action='append',
        required=True,
        metavar='NAME=CONFIG,CHECKPOINT,METHOD,L',
        help='a row: METHOD as in tools/test.py, L the key-frame interval; may be given several times. The first row '
        'with method frame is the reference of the speed-ups',
    )
    parser.add_argument('--out', required=True, metavar='FILE', help='JSON file to write')
    parser.add_argument(
        '--rounds', type=int, default=10, metavar='N', help='rounds after the warm-up (default: 10)'
    )
    parser.add_argument(
        '--video',
        metavar='FILE',
        help="video file or folder of frames (default: videos of the config's test data set)",
    )
    parser.add_argument('--threads', type=int, help="CPU threads (default: PyTorch's choice)")
    add_model_arguments(parser, 'every config')
    return parser.parse_args()


def main() -> None:
    """Measure and report; bad input ends with a message and exit code 1."""
    args = parse_args()
    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        rows = [SpeedRow.parse(text) for text in args.row]
        report = measure_speed(
            rows, args.rounds, args.video, args.cfg_options, args.device,
            progress=lambda text: print(text, flush=True),
        )  # fmt: skip
        write_json(report, args.out, indent=2)
    except (CheckpointError, VideoError, OSError, ValueError) as error:
        sys.exit(f'tools/analysis/measure_speed.py: {error}')
    table = [('', 'fps', 'speed-up', 'spread')]
    for name, row in report['rows'].items():
        ratios = (
            () if row['speed_up'] is None else (f'{row["speed_up"]:.2f}', f'{row["spread"]:.1%}')
        )
        table.append((name, f'{row["fps"]:.2f}', *ratios))
    print(text_table(table))


if __name__ == '__main__':
    main()
