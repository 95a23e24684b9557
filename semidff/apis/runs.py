"""Runs of a config: training and test."""

from mmengine.dist import is_main_process

from semidff.checkpoints.read import check_class_order, read_checkpoint, stored_classes
from semidff.checkpoints.strict import load_for_test
from semidff.engine.launch import (
    Launch,
    Runner,
    VideoTestOptions,
    apply_test_options,
    prepare_run,
    prepare_training,
    use_mixed_precision,
)
from semidff.engine.steps import runs
from semidff.inference.options import MethodOptions
from semidff.utils.atomic_write import write_json
from semidff.utils.command_line import Checkpoint, Count, Input, Output


def train(
    config: Input,
    *,
    resume: Checkpoint | bool | None = None,
    amp: bool = False,
    accumulate: Count | None = None,
    seed: int | None = None,
    launch: Launch,
) -> None:
    """Train a model: stage one, stage two or flow pre-training, depending on the config.

    Args:
        config: Config file, for example configs/quickstart/rfcn_synthetic.py.
        resume: Checkpoint to resume from; without a value, the latest one in the work directory, if
            there is any.
        amp: Use automatic mixed precision.
        accumulate: Update the weights with the mean gradient of N batches.
        seed: Random seed (default: that of the config, or of the training that is resumed).
    """
    cfg = prepare_run(config, launch)
    if accumulate:
        cfg.train_cfg.accumulate = accumulate
    prepare_training(cfg, 'auto' if resume is True else resume, seed)
    for run in runs(cfg):
        if amp:
            use_mixed_precision(run)
        Runner.from_cfg(run).train()


def test(
    config: Input,
    checkpoint: Checkpoint,
    *,
    points: MethodOptions,
    options: VideoTestOptions,
    metrics_out: Output | None = None,
    launch: Launch,
) -> None:
    """Test a detector on videos, with a key frame every l frames or by another schedule.

    Models that are no video detectors, such as those of flow pre-training, are tested by the loop
    of their config (test_cfg.type: TestLoop).

    Args:
        config: Config file.
        checkpoint: Weights of the video detector; methods without temporal module also take those
            of a stage-one detector.
        metrics_out: Write the metrics as JSON.
    """
    cfg = prepare_run(config, launch)
    apply_test_options(cfg, points, options)
    state, meta = read_checkpoint(checkpoint)
    dataset = cfg.test_dataloader.dataset
    if dataset.get('type') == 'CocoVIDDataset':  # by default, its classes are those of the json
        dataset.setdefault('metainfo', dict(classes=stored_classes(meta) or None))
    runner = Runner.from_cfg(cfg)
    loop = runner.test_loop
    metainfo = getattr(loop.dataloader.dataset, 'metainfo', None) or {}
    check_class_order(checkpoint, meta, metainfo.get('classes') or ())
    # A loop that is not over videos tests other models, which need all weights.
    needs_temporal = loop.point.uses_temporal if hasattr(loop, 'point') else None
    load_for_test(runner.model, checkpoint, needs_temporal, state)
    metrics = runner.test()
    if metrics_out and is_main_process():
        write_json(metrics, metrics_out, indent=2, nan_as_null=True)
