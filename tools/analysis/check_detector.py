"""Check whether an image detector works as a video detector, and at which split points.

Compares the boxes at l = 1 with the detector's own and computes the semantic loss once. Nothing is downloaded. The exit
code is 1 if the boxes differ or a weight has no gradient; what is not supported is no failure.
"""

import argparse
import sys

from semidff.utils.arguments import SIZE, ToolParser, run_tool

TOLERANCE = 1e-3  # pixels, or of scores


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_argument(
        'detector', help='config file of a detector, or the name of a model of mmdetection'
    )
    parser.add_checkpoint('checkpoint', nargs='?', help='its weights (default: random ones)')
    parser.add_argument('--size', **SIZE, default=(512, 640), help="the network's input size")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (registers the parts of configs)
    from semidff.analysis.check_detector import check_detector

    found, wrong = check_detector(args.detector, args.checkpoint, tuple(args.size)), False
    for split, row in found.items():
        if 'refused' in row:
            print(f'{split}: not supported: {row["refused"]}')
            continue
        equal = row['boxes'] > 0 and row['deviation'] <= TOLERANCE
        text = 'as the detector' if equal else f'they differ by {row["deviation"]:.1g}'
        print(f'{split}: {row["boxes"]} boxes at l = 1, {text}')
        if 'semantic_refused' in row:
            print(f'    regression loss only: {row["semantic_refused"]}')
        else:
            names = ', '.join(row['untrained'][:3])
            print(
                f'    semantic loss: {f"no gradient for {names}" if names else "all weights have gradients"}'
            )
        wrong |= not equal or bool(row.get('untrained'))
    if wrong:
        sys.exit(1)


if __name__ == '__main__':
    run_tool(main, parse_args())
