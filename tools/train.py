"""Train a model: stage one, stage two or flow pre-training, depending on the config."""

import argparse

from semidff.utils.arguments import ToolParser, add_launch_arguments, run_tool


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_input(
        'config',
        help='config file, for example configs/quickstart/rfcn_synthetic.py',
    )
    parser.add_checkpoint(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from CHECKPOINT, or from the latest checkpoint in the work directory if there is one',
    )
    parser.add_argument('--amp', action='store_true', help='use automatic mixed precision')
    parser.add_argument(
        '--accumulate',
        type=int,
        metavar='N',
        help='update the weights with the mean gradient of N batches, which count as one iteration',
    )
    parser.add_argument(
        '--seed',
        type=int,
        help="random seed (default: the config's; of a resumed training, its own)",
    )
    add_launch_arguments(
        parser, 'train_cfg.max_iters=100, in stage two train_cfg.steps.0.iters=100'
    )
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (registers the parts of configs)
    from semidff.engine.launch import (
        Runner,
        accumulate_gradients,
        prepare_run,
        prepare_training,
        use_mixed_precision,
    )

    cfg = prepare_run(args)
    if args.amp:
        use_mixed_precision(cfg)
    if args.accumulate:
        accumulate_gradients(cfg, args.accumulate)
    prepare_training(cfg, args.resume, args.seed)
    runner = Runner.from_cfg(cfg)
    runner.train()


if __name__ == '__main__':
    run_tool(main, parse_args(), trains=True)
