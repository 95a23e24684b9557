"""Count the operations and parameters of a video detector's parts, and compute the ratios of DFF Eqs. 5 to 7.

FLOPs are multiply-adds. Weights are random; nothing is downloaded.
"""

import argparse

from semidff.utils.arguments import SIZE, ToolParser, add_measuring_arguments, run_tool


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_input('config', help='config of a video detector')
    parser.add_argument('--size', **SIZE, default=(600, 1000), help='size of a frame in pixels')
    intervals = [1, 2, 5, 10, 20]
    parser.add_value('--key-intervals', intervals, 'key-frame intervals of the speed-ups', 'L')
    parser.add_flag(
        '--flow-networks',
        'also measure r and the speed-ups with other flow networks, and name the largest with r <= 0.1',
    )
    parser.add_value('--rounds', 5, 'with --flow-networks: rounds of the measurement of time')
    parser.add_output('--json', metavar='FILE', help='write the figures as JSON')
    add_measuring_arguments(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (registers the parts of configs)
    from semidff.analysis.complexity import (
        compare_flow_networks,
        comparison_text,
        measure_complexity,
    )
    from semidff.synthetic.smooth_video import smooth_frames
    from semidff.utils.atomic_write import write_json
    from semidff.utils.model_building import build_video_detector

    model = build_video_detector(args.config, args.cfg_options)
    report = measure_complexity(model, *args.size)
    candidates = []
    print(report.text(args.key_intervals))
    if args.flow_networks:
        frames = smooth_frames(2, *args.size)
        model = model.to(args.device)
        candidates = compare_flow_networks(model, frames, args.key_intervals, args.rounds)
        print(comparison_text(candidates))
    if args.json:
        figures = dict(report.to_dict(args.key_intervals), flow_networks=candidates)
        write_json(dict(config=args.config, **figures), args.json, indent=2, nan_as_null=True)


if __name__ == '__main__':
    run_tool(main, parse_args())
