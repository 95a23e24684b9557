"""Turn an image detector into a faster video detector, with unlabeled videos.

First, what needs no training is measured: the folder DIR has a report (report.md, report.json, report.png), and
`VideoInferencer(DIR)` and `tools/video_demo.py VIDEO DIR` run what it recommends. Where a training can pay, it follows,
and the report is made anew. After an interruption, the same command continues.
"""

import argparse

from semidff.utils.arguments import ToolParser, add_device, add_runtime, run_tool


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    help = 'config file of an image detector, or the name of a model of mmdetection'
    parser.add_argument('detector', help=help)
    parser.add_checkpoint('checkpoint', help='its weights')
    help = 'video file, folder of frames, folder that contains either, or glob'
    parser.add_argument('videos', nargs='+', metavar='VIDEO', help=help)
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the results')
    parser.add_argument(
        '--minutes',
        type=float,
        help='time of the whole command (default: 60, or that of the plan in DIR)',
    )
    speed = parser.add_mutually_exclusive_group()
    help = 'frames per second to reach, with decoding'
    speed.add_argument('--fps', type=float, metavar='TARGET', help=help)
    help = (
        'key-frame interval l of the forecasts; training covers intervals up to 2 l (default: 10)'
    )
    speed.add_argument('--key-interval', type=int, metavar='L', help=help)
    help = 'COCO-VID json of labeled videos: measure mAP, too, on all of their frames'
    parser.add_input('--labels', metavar='FILE', help=help)
    help = 'seed of the training (default: 0, or that of the plan in DIR)'
    parser.add_argument('--seed', type=int, help=help)
    add_runtime(parser, 'openvino if it is installed, or that of the plan in DIR')
    parser.add_flag('--no-training', 'train no temporal module')
    help = 'first, train the detector on what it finds in the videos with time on its side'
    parser.add_flag('--adapt-detector', help)
    help = 'train this detector, of the same classes, in its place: config or name, and weights'
    parser.add_argument('--student', nargs=2, metavar=('DETECTOR', 'CHECKPOINT'), help=help)
    help = 'COCO json of labeled images that the detector is trained on, too'
    parser.add_input('--also', metavar='FILE', help=help)
    help = 'measure the streaming accuracy with a camera of FPS, in real time'
    parser.add_argument('--live-rate', type=float, metavar='FPS', help=help)
    parser.add_flag('--plan-only', 'stop after the plan')
    parser.add_flag('--anyway', 'train even if it cannot pay')
    add_device(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from semidff.apis import adapt

    adapt(**vars(args))


if __name__ == '__main__':
    run_tool(main, parse_args(), trains=True)
