"""Compare a video detector with copy and track on videos that it was not trained on, one by one, without labels.

The table shows the agreement with the dense detector, whose boxes are filtered both ways, in AP / AP_50; the boxes per
frame beside the detector's; and the class whose number of boxes differs most from the detector's, as a factor.
"""

import argparse
import math
from pathlib import Path

from semidff.utils.arguments import add_measuring_arguments, detector_parser, run_tool


def parse_args() -> argparse.Namespace:
    parser = detector_parser(__doc__)
    help = 'weights of the detector before stage two (default: those of the folder, else of the checkpoint)'
    parser.add_checkpoint('--detector', metavar='FILE', help=help)
    parser.add_output(
        '--out', required=True, metavar='DIR', help='folder for transfer.md and .json'
    )
    help = 'videos: files or folders of frames'
    parser.add_argument('--videos', nargs='+', required=True, metavar='VIDEO', help=help)
    parser.add_value('--key-interval', 5, 'key-frame interval', 'L')
    parser.add_value('--min-score', 0.3, 'lowest score of a box that is counted', 'S')
    parser.add_value('--max-frames', 300, 'first frames of each video that are used', 'N')
    add_measuring_arguments(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (registers the parts of configs)
    from semidff.analysis.evaluation_clips import unlabeled_clips
    from semidff.analysis.transfer import METHODS, compare_videos
    from semidff.inference.loading import load_model
    from semidff.utils.atomic_write import atomic_write, write_json
    from semidff.utils.image_detectors import read_model
    from semidff.utils.tables import markdown_table

    out, config = Path(args.out), read_model(args.config, args.cfg_options)
    model = load_model(config, args.checkpoint, args.device, 'propagate')
    weights = args.detector or args.checkpoint
    detector = load_model(config, weights, args.device, 'frame')
    names = model.model.dataset_meta['classes']
    clips = unlabeled_clips(args.videos, args.max_frames)
    rows, table = [], [('video', 'frames', 'boxes', *METHODS)]
    for row in compare_videos(model, detector, clips, args.key_interval, args.min_score):
        cells = []
        for one in (row[name] for name in METHODS):
            cell = f'{100 * one["AP"]:.1f} / {100 * one["AP_50"]:.1f}, {one["boxes"]:.1f} boxes'
            if one['classes']:
                label, factor = max(
                    one['classes'].items(), key=lambda item: abs(math.log(max(item[1], 0.01)))
                )
                cell += f', {names[label] if names else label} × {factor:.2f}'
            cells.append(cell)
        table.append((Path(row['video']).name, row['frames'], f'{row["boxes"]:.1f}', *cells))
        rows.append(row)
        print(' | '.join(map(str, table[-1])), flush=True)
    write_json(rows, out / 'transfer.json', indent=2)
    with atomic_write(out / 'transfer.md') as file:
        file.write(f'{markdown_table(table)}\n')


if __name__ == '__main__':
    run_tool(main, parse_args())
