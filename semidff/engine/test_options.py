"""The command-line options of a test, put into its config."""

from argparse import Namespace

from mmengine.config import Config


class OptionError(ValueError):
    """An option that the config has no place for."""


def apply_test_options(cfg: Config, args: Namespace) -> str:
    """Puts ``method``, ``key_interval``, ``detections`` and the rendering into the config.

    Args:
        cfg (Config): A config with ``test_cfg`` and ``test_evaluator``; it is changed.
        args (Namespace): Options of ``tools/test.py``; those that are None change nothing.

    Returns:
        str: The method that the test will use.

    Raises:
        OptionError: If the config has no test on videos or no metric that writes detections.
    """
    if not cfg.get('test_cfg') or not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise OptionError(
            f'{cfg.filename}: no test_cfg, test_dataloader or test_evaluator, so there is nothing '
            'to test; base the config on one of configs/_base_/datasets'
        )
    kind = cfg.test_cfg.get('type')
    if kind != 'VideoTestLoop':
        raise OptionError(
            f"{cfg.filename}: test_cfg.type is {kind!r}; set test_cfg = dict(type='VideoTestLoop')"
        )
    if args.method is not None:
        cfg.test_cfg.method = args.method
    if args.key_interval is not None:
        if args.key_interval < 1:
            raise OptionError(f'--key-interval is {args.key_interval}; it must be at least 1')
        cfg.test_cfg.key_interval = args.key_interval
    if args.render is not None:
        cfg.test_cfg.render = dict(
            cfg.test_cfg.get('render') or {},
            out_dir=args.render,
            max_videos=args.render_videos,
            fps=args.render_fps,
        )
    if args.detections is not None:
        _vid_metric(cfg).outfile = args.detections
    return cfg.test_cfg.get('method', 'propagate')


def _vid_metric(cfg: Config) -> dict:
    evaluator = cfg.test_evaluator
    metrics = evaluator if isinstance(evaluator, list) else [evaluator]
    for metric in metrics:
        if metric.get('type') == 'VIDMetric':
            return metric
    raise OptionError(
        f'{cfg.filename}: --detections needs a VIDMetric in test_evaluator; it has '
        f'{[metric.get("type") for metric in metrics]}'
    )
