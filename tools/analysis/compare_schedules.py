"""Compare adaptive key-frame schedules with fixed intervals: mAP at equal average cost on the config's test videos."""

import argparse
import sys
from pathlib import Path

from semidff.analysis.schedule_curve import curve_table, draw_schedules, schedule_curve
from semidff.inference import ErrorPredictor
from semidff.inference.frame_pipeline import load_model
from semidff.utils.arguments import (
    add_key_intervals,
    add_model_arguments,
    detector_parser,
    run_tool,
)
from semidff.utils.atomic_write import write_json
from semidff.utils.model_building import read_config
from semidff.utils.tool_files import InputFile, OutputFolder, ReportFile, check_new


def parse_args() -> argparse.Namespace:
    parser = detector_parser(__doc__)
    parser.add_argument('adaptive', type=InputFile, help='file of tools/analysis/fit_adaptive.py')
    add_key_intervals(
        parser,
        [2, 3, 4, 5, 7, 10, 15, 20, 30],
        'intervals of both kinds of schedules; adaptive schedules are limited to the intervals that the '
        'file was calibrated for',
    )
    parser.add_argument(
        '--out',
        type=OutputFolder,
        required=True,
        metavar='DIR',
        help='folder for schedules.json and schedules.png',
    )
    parser.add_argument('--max-videos', type=int, metavar='N', help='use the first N videos only')
    add_model_arguments(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    out = Path(args.out)
    for name in (ReportFile(out / 'schedules.json'), out / 'schedules.png'):
        check_new(name)
    config = read_config(args.config, args.cfg_options)
    predictor = ErrorPredictor.load(args.adaptive)
    model = load_model(config, args.checkpoint, args.device, 'propagate')
    points = schedule_curve(
        model,
        config,
        predictor,
        args.key_intervals,
        args.max_videos,
        progress=lambda text: print(text, file=sys.stderr, flush=True),
    )
    write_json(
        dict(points=[p.to_dict() for p in points]),
        out / 'schedules.json',
        indent=2,
        nan_as_null=True,
    )
    draw_schedules(points, out / 'schedules.png')
    print(curve_table(points))
    print(f'Written: {out / "schedules.json"}, {out / "schedules.png"}')


if __name__ == '__main__':
    run_tool(main, parse_args())
