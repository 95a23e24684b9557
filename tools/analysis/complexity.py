"""Count the operations and parameters of a video detector's parts, and compute the ratios of DFF Eqs. 5 to 7.

FLOPs are multiply-adds. Weights are random; nothing is downloaded.
"""

import argparse

from semidff.utils.arguments import SIZE, ToolParser, add_cfg_options, run_tool


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_input('config', help='config of a video detector')
    parser.add_argument('--size', **SIZE, default=(600, 1000), help='size of a frame in pixels')
    intervals = [1, 2, 5, 10, 20]
    parser.add_value('--key-intervals', intervals, 'key-frame intervals of the speed-ups', 'L')
    parser.add_output('--json', metavar='FILE', help='write the figures as JSON')
    add_cfg_options(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (registers the parts of configs)
    from semidff.analysis.complexity import measure_complexity
    from semidff.utils.atomic_write import write_json
    from semidff.utils.model_building import build_video_detector

    model = build_video_detector(args.config, args.cfg_options)
    report = measure_complexity(model, *args.size)
    print(report.text(args.key_intervals))
    if args.json:
        figures = dict(config=args.config, **report.to_dict(args.key_intervals))
        write_json(figures, args.json, indent=2, nan_as_null=True)


if __name__ == '__main__':
    run_tool(main, parse_args())
