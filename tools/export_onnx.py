"""Export a video detector as two ONNX graphs, one for key frames and one for non-key frames.

Writes key.onnx, non_key.onnx and video_detector.json (names, shapes, normalization) to a folder. The graphs end before
proposals, RoIs and NMS, and take frames of one size. With --verify, both are run in onnxruntime and compared with
PyTorch; the exit code is 1 if an output differs by 1e-3 or more.
"""

import argparse
import sys
from pathlib import Path

from semidff.utils.arguments import SIZE, detector_parser, run_tool


def parse_args() -> argparse.Namespace:
    parser = detector_parser(__doc__)
    parser.add_output('--out', required=True, metavar='DIR', help='folder for the files')
    parser.add_argument(
        '--shape',
        **SIZE,
        help="size of the frames after the test pipeline, before padding (default: that of the --video's frames, "
        "else the scale of the pipeline's Resize)",
    )
    parser.add_input('--video', help='video file or folder of frames, for size and --verify')
    parser.add_flag('--verify', 'compare both graphs with PyTorch on some frames')
    parser.add_value('--frames', 5, 'number of frames for --verify, the first one a key frame')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (registers the parts of configs)
    from semidff.datasets.class_names import class_names
    from semidff.deployment import ExportedGraphs, export_onnx, sample_batches, verify
    from semidff.utils.checkpoint import load_for_test, read_checkpoint
    from semidff.utils.model_building import build_video_detector

    model = build_video_detector(args.config)
    state, meta = read_checkpoint(args.checkpoint)
    load_for_test(model, args.checkpoint, needs_temporal=True, state=state)
    batches = sample_batches(model.cfg, args.frames, args.shape, args.video)
    shape = batches[0]['inputs'][0].shape[-2:]
    about = export_onnx(model, args.out, shape, class_names(model.cfg, meta))
    for path in sorted(Path(args.out).glob('*.onnx')):
        print(f'{path}: {path.stat().st_size / 2**20:.1f} MB')
    print(f'frames enter as 1 x 3 x {about.shape[0]} x {about.shape[1]}')
    if args.verify:
        report = verify(model, ExportedGraphs(model, args.out), batches)
        print(report)
        if not report.equal:
            sys.exit('tools/export_onnx.py: the graphs differ from PyTorch, see above')


if __name__ == '__main__':
    run_tool(main, parse_args())
