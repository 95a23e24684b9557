"""Accuracy over speed: several checkpoints at several key-frame intervals (DFF Figure 3).

A curve is an experiment without trainings. It has a row for each run, and a row with method *frame*
for each distinct detector among them.
"""

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from semidff.utils.checkpoint import detector_digest
from semidff.utils.image_detectors import read_detector

from .experiment import Experiment
from .settings import ExperimentError, config_text
from .spec import build_experiment

INHERITED = ('EXPERIMENT_DIR', 'RUN_DIR')


@dataclass(frozen=True)
class Run:
    """Line of the curve: a checkpoint that is tested at every key-frame interval."""

    name: str
    config: str
    checkpoint: str
    method: str = 'propagate'

    @classmethod
    def parse(cls, text: str) -> 'Run':
        """Parse ``NAME=CONFIG,CHECKPOINT[,METHOD]``.

        Raises:
            ExperimentError: If the text has another form.
        """
        name, _, rest = text.partition('=')
        parts = [part.strip() for part in rest.split(',')]
        if not name or len(parts) not in (2, 3) or not all(parts):
            raise ExperimentError(f'--run {text!r}: expected NAME=CONFIG,CHECKPOINT[,METHOD].')
        return cls(name.strip(), *parts)


def build_curve(
    runs: Sequence[Run],
    key_intervals: Sequence[int],
    out: str,
    cfg_options: Mapping[str, Any] | None = None,
    *,
    methods: Collection[str],
    with_speed: bool = True,
) -> Experiment:
    """Lay out the evaluations; the rows of each distinct detector form a group.

    Args:
        out: Folder of all results.
        cfg_options: Settings that replace those of every config, by dotted keys.
        methods: Known methods of ``tools/test.py``.
        with_speed: Whether to measure the speed.

    Raises:
        ExperimentError: If a run cannot be tested; the message names it.
        FileNotFoundError: If a config does not exist.
        CheckpointError: If a checkpoint does not exist or cannot be read.
    """
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    keys = {run: _detector_key(run, environment) for run in runs}
    present = {key for run, key in keys.items() if run.method == 'frame'}
    frames: dict[str, Run] = {}
    for run, key in keys.items():
        if key not in present:
            # The first is always named 'frame', so that its evaluation is kept when runs are added.
            name = f'frame-{run.name}' if frames else 'frame'
            frames.setdefault(key, replace(run, name=name, method='frame'))
    rows = [*frames.values(), *runs]
    keys |= {run: key for key, run in frames.items()}
    names: dict[str, str] = {}  # groups are named after their first row, the first has no name
    for run in rows:
        names.setdefault(keys[run], run.name if names else '')
    settings = dict(
        work_dir=out,
        steps=[],
        rows=[vars(run) for run in rows],
        key_intervals=list(key_intervals),
        cfg_options=cfg_options or {},
    )
    experiment = build_experiment(settings, methods, environment)
    groups = {run.name: names[keys[run]] for run in rows}
    grouped = tuple(replace(run, group=groups[run.row]) for run in experiment.rows)
    return replace(experiment, rows=grouped, with_speed=with_speed)


def _detector_key(run: Run, environment: Mapping[str, str]) -> str:
    """Return a key that is equal for runs with the same detector, weights and test data."""
    config = json.loads(config_text(run.config, environment))
    model = config.get('model')
    if not model:
        raise ExperimentError(f'run {run.name!r}: {run.config} has no model.')
    detector = model.get('detector') or model
    if isinstance(detector, str):
        detector = read_detector(detector, warn=False).model.to_dict()
    detector = _without_training(detector)
    preprocessor = detector.pop('data_preprocessor', None) or model.get('data_preprocessor') or {}
    preprocessor = {key: value for key, value in preprocessor.items() if key != 'type'}
    test = [config.get(name) for name in ('test_dataloader', 'test_evaluator')]
    digest = hashlib.sha256(json.dumps([detector, preprocessor, test], sort_keys=True).encode())
    return f'{digest.hexdigest()} {detector_digest(run.checkpoint)}'


def _without_training(value: Any) -> Any:
    """Return settings without those that matter only for trainings: weights to start from, losses' targets."""
    if isinstance(value, list | tuple):
        return [_without_training(item) for item in value]
    if isinstance(value, dict):
        left_out = ('train_cfg', 'init_cfg', 'pretrained')
        return {k: _without_training(v) for k, v in value.items() if k not in left_out}
    return value
