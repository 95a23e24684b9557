"""Test a detector on videos, frame by frame, with a key frame every l frames or by another schedule.

Models that are no video detectors, such as those of flow pre-training, are tested by the loop of their config
(test_cfg.type: TestLoop).
"""

import argparse

from semidff.utils.arguments import (
    ToolParser,
    add_launch_arguments,
    add_method_arguments,
    run_tool,
)


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_input('config', help='config file')
    parser.add_checkpoint(
        'checkpoint',
        help='weights of the video detector; methods without temporal module also take those of a stage-one detector',
    )
    add_method_arguments(
        parser,
        'propagate: features propagated by the temporal module; frame: detector on every frame; track: boxes of key '
        "frames moved by sparse optical flow; small: the detector at half the input size; copy: key frame's boxes "
        'repeated; interpolate: boxes interpolated between key frames, offline; centered: as propagate, from the '
        'nearest key frame before or after, offline; blend: as centered, with boxes averaged with those of '
        "interpolate, offline; sff-fast, sff-slow: features propagated by OpenCV's optical flow (default: the "
        "config's, else propagate, and frame without temporal module)",
        "the config's",
    )
    parser.add_argument(
        '--protocol',
        choices=('dense', 'pairs'),
        help='dense: every frame at its position in the schedule; pairs: every labeled frame at each distance '
        "0 ... L-1 from its key frame (DFF 5.2) (default: the config's, else dense)",
    )
    parser.add_output(
        '--detections',
        metavar='FILE',
        help='write all detections in the ILSVRC format (frame_id class score x1 y1 x2 y2)',
    )
    parser.add_output('--metrics-out', metavar='FILE', help='write the metrics as JSON')
    parser.add_output(
        '--render',
        metavar='DIR',
        help='write an mp4 with the detections of each video',
    )
    parser.add_argument(
        '--render-videos',
        type=int,
        metavar='N',
        help='render only the first N videos (of each process)',
    )
    parser.add_argument(
        '--render-fps',
        type=float,
        help="frames per second of the mp4 files (default: the config's, or 10)",
    )
    add_launch_arguments(parser, 'test_cfg.fp16=True')
    args = parser.parse_args()
    if args.render is None and (args.render_videos or args.render_fps):
        parser.error('--render-videos and --render-fps need --render')
    return args


def main(args: argparse.Namespace) -> None:
    from mmengine.dist import is_main_process

    import semidff.registry  # noqa: F401 (registers the parts of configs)
    from semidff.engine.launch import Runner, apply_test_options, prepare_run
    from semidff.utils.atomic_write import write_json
    from semidff.utils.checkpoint import (
        check_class_order,
        load_for_test,
        read_checkpoint,
        stored_classes,
    )

    cfg = prepare_run(args)
    apply_test_options(cfg, args)
    state, meta = read_checkpoint(args.checkpoint)
    dataset = cfg.test_dataloader.dataset
    if dataset.get('type') == 'CocoVIDDataset':  # by default, its classes are those of the json
        dataset.setdefault('metainfo', dict(classes=stored_classes(meta) or None))
    runner = Runner.from_cfg(cfg)
    loop = runner.test_loop
    metainfo = getattr(loop.dataloader.dataset, 'metainfo', None) or {}
    check_class_order(args.checkpoint, meta, metainfo.get('classes') or ())
    # A loop that is not over videos tests other models, which need all weights.
    needs_temporal = getattr(loop, 'needs_temporal', None)
    load_for_test(runner.model, args.checkpoint, needs_temporal, state)
    metrics = runner.test()
    if args.metrics_out and is_main_process():
        write_json(metrics, args.metrics_out, indent=2, nan_as_null=True)


if __name__ == '__main__':
    run_tool(main, parse_args())
