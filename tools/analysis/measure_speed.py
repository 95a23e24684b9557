"""Measure the speed of several detectors, methods and key-frame intervals, interleaved in one process.

Each round runs one clip of every row, so that all rows see the same load of the machine. Measured are the forward pass
and post-processing at batch 1.
"""

import argparse

from semidff.analysis.measure_speed import SpeedRow, measure_speed
from semidff.utils.arguments import (
    ToolParser,
    add_model_arguments,
    add_timing_arguments,
    prepare_timing,
    run_tool,
)
from semidff.utils.atomic_write import write_json
from semidff.utils.tables import text_table
from semidff.utils.tool_files import CheckpointFile, ReportFile


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_argument(
        '--row',
        action='append',
        required=True,
        metavar='NAME=CONFIG,CHECKPOINT,METHOD,L',
        help='a row: METHOD as in tools/test.py, L the key-frame interval; may be given several times. The first row '
        'with method frame is the reference of the speed-ups',
    )
    parser.add_option_for(CheckpointFile)
    parser.add_argument(
        '--out', type=ReportFile, required=True, metavar='FILE', help='JSON file to write'
    )
    parser.add_number('--rounds', 10, 'rounds after the warm-up')
    add_timing_arguments(parser, "videos of the config's test data set")
    add_model_arguments(parser, 'every config')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    prepare_timing(args)
    report = measure_speed(
        [SpeedRow.parse(text) for text in args.row],
        args.rounds,
        args.video,
        args.cfg_options,
        args.device,
        progress=lambda text: print(text, flush=True),
    )
    write_json(report, args.out, indent=2)
    table = [('', 'fps', 'speed-up', 'spread')]
    for name, row in report['rows'].items():
        if row['fps'] is None:
            table.append((name, '-'))
            continue
        ratios = (
            () if row['speed_up'] is None else (f'{row["speed_up"]:.2f}', f'{row["spread"]:.1%}')
        )
        table.append((name, f'{row["fps"]:.2f}', *ratios))
    print(text_table(table))
    for name, row in report['rows'].items():
        if 'note' in row:
            print(f'{name}: {row["note"]}')


if __name__ == '__main__':
    run_tool(main, parse_args())
