"""Detect objects in a video or segment it; write an annotated mp4, COCO-VID json, ILSVRC text or label maps.

Memory does not grow with the video's length. The first Ctrl-C or SIGTERM ends the video after the current frame; the
output files have the results up to there.

If INPUT is a folder of videos, --out DIR is a folder for the results of each, and the same command continues after an
interruption. --workers N or --address ADDRESS shares the videos among processes.
"""

import argparse
import os
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

from semidff.utils.arguments import (
    PRECISIONS,
    ToolParser,
    add_device,
    add_live_arguments,
    add_method_arguments,
    add_runtime,
    positive,
    run_tool,
)
from semidff.utils.error_messages import FileError
from semidff.utils.files import check_outputs, without_secrets


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    help = 'video file, folder of frames, glob, camera index, or address (rtsp://...); or a folder of videos'
    parser.add_input('input', help=help)
    help = 'config of the video detector, or the folder of an adaptation (tools/adapt.py)'
    parser.add_input('config', help=help)
    parser.add_checkpoint('checkpoint', nargs='?', help='its weights; not needed with a folder')
    # The folder of an archive's results is continued: main checks files.
    parser.add_argument('--out', metavar='FILE', help='annotated mp4')
    help = (
        'all detections as COCO-VID json; with .jsonl, or - for standard output, a line per frame'
    )
    parser.add_output('--json', metavar='FILE', help=help)
    help = 'all detections in the ILSVRC format (frame class score x1 y1 x2 y2)'
    parser.add_output('--txt', metavar='FILE', help=help)
    parser.add_output('--mot', metavar='FILE', help='identities, in the MOTChallenge format')
    help = 'label maps of a segmentation network, a png per frame'
    parser.add_output('--labels', metavar='FOLDER', help=help)
    parser.add_value('--score-thr', 0.3, 'detections with lower scores are not drawn')
    help = 'detections with lower scores are in no output'
    parser.add_value('--output-score', 0.0, help, 'SCORE')
    help = 'names of the classes that the outputs have (default: all)'
    parser.add_argument('--classes', nargs='+', metavar='NAME', help=help)
    parser.add_argument(
        '--panels',
        nargs='+',
        choices=('flow', 'scale'),
        default=(),
        help='panels beside the frames of the mp4: feature flow (flow), scale field (scale)',
    )
    help = "constant frame rate of the mp4 (default: the input's time stamps)"
    parser.add_argument('--fps', type=float, help=help)
    add_method_arguments(
        parser,
        'method, as of tools/test.py (default: propagate; the folder of an adaptation recommends method, interval and '
        'input size, which are used if no option chooses key frames)',
        10,
    )
    help = "precision of convolutions and matrix products (default: that of the config's test_cfg)"
    parser.add_argument('--precision', choices=PRECISIONS, help=help)
    help = "channels-last memory layout (default: the config's)"
    parser.add_argument('--channels-last', action='store_true', default=None, help=help)
    parser.add_flag('--compile', 'compile the networks; the first frames take minutes')
    parser.add_flag('--no-graphs', 'on a GPU: launch the operators of a frame one by one')
    add_runtime(parser, 'torch, or what the folder of an adaptation recommends')
    help = 'decode and preprocess N frames ahead in the background (default: 4; cameras: 0)'
    parser.add_argument('--read-ahead', type=int, metavar='N', help=help)
    help = (
        'threads that decode a file; with several, the frames of damaged files may depend on timing'
    )
    parser.add_value('--decoder-threads', 1, help, 'N')
    parser.add_flag('--keep-damaged', 'use frames that damage may have reached, too')
    add_live_arguments(parser)
    add_device(parser)
    help = 'for a folder of videos: N processes, started by Ray (default with --address: one per GPU or 4 cores)'
    parser.add_argument('--workers', type=positive, metavar='N', help=help)
    help = 'for a folder of videos: address of a Ray cluster; "auto" for that of this machine'
    parser.add_argument('--address', help=help)
    parser.add_flag('--no-video', 'for a folder of videos: write detections only, no mp4')
    parser.add_argument('--max-frames', type=int, metavar='N', help='maximum number of frames')
    parser.add_flag('--strict', 'treat unreadable frames as an error, not a warning')
    args = parser.parse_args()
    # run_tool removes or replaces these.
    args.replace, args.trusts, args.chosen_device = args.overwrite, args.trust, args.device
    return args


def main(args: argparse.Namespace) -> None:
    from mmengine.logging import MMLogger

    from semidff.apis import VideoInferencer
    from semidff.datasets.video_folders import is_archive
    from semidff.datasets.video_readers import LiveOptions
    from semidff.inference import schedule_config

    if not args.checkpoint and not os.path.isdir(args.config):
        raise FileError(
            f'{args.config}: needs a checkpoint; only the folder of an adaptation has one'
        )
    arguments = dict(
        method=args.method,
        key_interval=args.key_interval,
        panels=args.panels,
        precision=args.precision,
        channels_last=args.channels_last,
        compile=args.compile,
        read_ahead=args.read_ahead,
        schedule=schedule_config(
            10 if args.key_interval is None else args.key_interval, args.adaptive, args.scene_cuts
        ),
        filter=args.filter,
        light_every=args.light_every,
        decoder_threads=args.decoder_threads,
        graphs=False if args.no_graphs else None,
        runtime=args.runtime,
        keep_damaged=args.keep_damaged,
    )
    if is_archive(args.input):
        detect_in_archive(args, arguments)
        return
    if args.workers or args.address:
        raise FileError(
            f'{without_secrets(args.input)}: is no folder of videos; --workers and --address need one'
        )
    check_outputs([args.out], [args.input], args.replace)
    if args.json == '-':
        with redirect_stdout(sys.stderr):  # which the log uses from now on
            MMLogger.get_current_instance()
    ffmpeg = dict(setting.split('=', 1) for setting in args.ffmpeg or ())
    limits = args.live_timeout, args.max_outage
    live = LiveOptions(args.live, *limits, ffmpeg, args.decoder_threads)
    inferencer = VideoInferencer(
        args.config, args.checkpoint, args.device, live=live, latency=args.latency, **arguments
    )
    say(args, f'{args.config} runs {inferencer.description}')
    detect_in_video(inferencer, args)


def detect_in_archive(args: argparse.Namespace, arguments: dict) -> None:
    """Detect in all videos of a folder."""
    from semidff.apis import detect_archive
    from semidff.datasets.video_readers import VideoError

    others = args.json, args.txt, args.labels, args.mot, args.serve
    if not args.out or Path(args.out).suffix == '.mp4' or any(others):
        raise FileError(
            f'{args.input}: is a folder of videos; give --out DIR, a folder for the results of each, and no --json, '
            '--txt, --labels, --mot or --serve'
        )
    summary = detect_archive(
        args.input,
        args.out,
        args.config,
        args.checkpoint,
        args.workers,
        args.address,
        draw=not args.no_video,
        overwrite=args.replace,
        progress=lambda text: print(text, flush=True),
        call=call_arguments(args),
        inferencer=dict(arguments, device=args.chosen_device, trust=args.trusts),
    )
    print(
        f'{summary["done"]} of {summary["videos"]} videos, {summary["frames"]} frames, {summary["key_frames"]} key '
        f'frames, {summary["seconds"]:.0f} s in all processes, {len(summary["damaged"])} videos damaged'
    )
    if failures := len(summary['failed']):
        raise VideoError(args.input, f'{failures} videos failed: {args.out}/summary.json')


def call_arguments(args: argparse.Namespace) -> dict:
    """Return the arguments of the inferencer's call, but for its outputs."""
    limits = dict(only_classes=args.classes, min_score=args.output_score)
    return dict(
        pred_score_thr=args.score_thr,
        fps=args.fps,
        max_frames=args.max_frames,
        strict=args.strict,
        **{name: value for name, value in limits.items() if value},
    )


def detect_in_video(inferencer, args: argparse.Namespace) -> None:
    """Detect in one video, up to the first Ctrl-C or SIGTERM."""
    from semidff.utils.stopping import until_stopped

    results = inferencer(
        args.input,
        out_video=args.out,
        out_json=args.json,
        out_txt=args.txt,
        out_labels=args.labels,
        out_mot=args.mot,
        serve=args.serve,
        **call_arguments(args),
    )
    frames = keys = dropped = 0
    start = time.perf_counter()
    for sample in until_stopped(results):
        frames += 1
        keys += sample.is_key_frame
        dropped += sample.dropped
    files = [name for name in (args.out, args.json, args.txt, args.labels, args.mot) if name]
    rate = f'{frames / (time.perf_counter() - start):.1f} fps from reading to writing'
    count = f'{frames} frames, {keys} key frames' + f', {dropped} dropped' * bool(dropped)
    say(args, f'{count}, {rate}: {", ".join(files) or "no output files"}')


def say(args: argparse.Namespace, text: str) -> None:
    """Print a line, where results do not go."""
    print(text, file=sys.stderr if args.json == '-' else sys.stdout, flush=True)


if __name__ == '__main__':
    run_tool(main, parse_args())
