"""The command-line options of a test, put into its config."""

from argparse import Namespace

from mmengine.config import Config

from semidff.inference import schedule_config

from .launch import OptionError

# options of ``tools/test.py`` that apply only to tests on videos
VIDEO_OPTIONS = (
    'method',
    'key_interval',
    'adaptive',
    'scene_cuts',
    'protocol',
    'render',
    'render_videos',
    'detections',
)


def apply_test_options(cfg: Config, args: Namespace) -> str | None:
    """Put method, schedule, protocol, detections and rendering into a test config.

    Args:
        cfg: A config with ``test_cfg`` and ``test_evaluator``, changed in place.
        args: Options of ``tools/test.py``; those that are None change nothing.

    Returns:
        The method of the test; None for a model that is no video detector and is tested by mmengine's own loop
        (``test_cfg=dict(type='TestLoop')``).

    Raises:
        OptionError: If the config has no test, no metric that writes detections, or does not support a given option.
    """
    if not cfg.get('test_cfg') or not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise OptionError(
            f'{cfg.filename}: no test_cfg, test_dataloader or test_evaluator, so there is nothing '
            'to test; base the config on one of configs/_base_/datasets'
        )
    kind = cfg.test_cfg.get('type')
    if kind == 'TestLoop':
        _refuse_video_options(cfg, args)
        return None
    if kind != 'VideoTestLoop':
        raise OptionError(
            f"{cfg.filename}: test_cfg.type is {kind!r}; set test_cfg = dict(type='VideoTestLoop'), "
            "or 'TestLoop' for a model that is no video detector"
        )
    if args.method is not None:
        cfg.test_cfg.method = args.method
    if args.key_interval is not None:
        if args.key_interval < 1:
            raise OptionError(f'--key-interval is {args.key_interval}; it must be at least 1')
        cfg.test_cfg.key_interval = args.key_interval
    if args.adaptive or args.scene_cuts:
        interval = cfg.test_cfg.get('key_interval', 10)
        cfg.test_cfg.schedule = schedule_config(interval, args.adaptive, bool(args.scene_cuts))
    if args.protocol is not None:
        cfg.test_cfg.protocol = args.protocol
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


def _refuse_video_options(cfg: Config, args: Namespace) -> None:
    given = [name for name in VIDEO_OPTIONS if getattr(args, name, None) is not None]
    if given:
        raise OptionError(
            f'{cfg.filename}: --{given[0].replace("_", "-")} is for tests on videos, but test_cfg.type '
            "is 'TestLoop'; leave it out"
        )


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
