"""Accuracy over speed: several checkpoints at several key intervals (DFF Figure 3).

A curve is a chain without trainings: a row for each run, and one more, method *frame*, for each
different detector among them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .report import collect
from .settings import ExperimentError, config_text, silenced
from .spec import Chain, build_experiment
from .table import Measurement

INHERITED = ('EXPERIMENT_DIR', 'RUN_DIR')


@dataclass(frozen=True)
class Run:
    """A line of the curve: a checkpoint that is tested at every key interval."""

    name: str
    config: str
    checkpoint: str
    method: str = 'propagate'

    @classmethod
    def parse(cls, text: str) -> Run:
        """Reads ``NAME=CONFIG,CHECKPOINT[,METHOD]``.

        Raises:
            ExperimentError: If it is not that.
        """
        name, _, rest = text.partition('=')
        parts = [part.strip() for part in rest.split(',')]
        if not name or len(parts) not in (2, 3) or not all(parts):
            raise ExperimentError(f'--run {text!r}: expected NAME=CONFIG,CHECKPOINT[,METHOD].')
        return cls(name.strip(), *parts)


@dataclass(frozen=True)
class Curve:
    """The evaluations of a curve.

    Attributes:
        chain: The evaluations; their folder is the chain's.
        detectors: For each row (runs and frames) which detector it uses, any equal key for equal
            ones.
    """

    chain: Chain
    detectors: Mapping[str, str]

    def measurements(self) -> list[list[Measurement]]:
        """What has been measured so far, a list for each detector, *frame* first."""
        groups: dict[str, list[Measurement]] = {}
        for item in collect(self.chain):
            groups.setdefault(self.detectors[item.row], []).append(item)
        return [sorted(g, key=lambda item: item.method != 'frame') for g in groups.values()]


def build_curve(
    runs: Sequence[Run],
    key_intervals: Sequence[int],
    out: str,
    cfg_options: Mapping[str, Any] | None = None,
    *,
    digest: Callable[[str], str],
) -> Curve:
    """Lays out the evaluations.

    Args:
        runs: The lines of the curve.
        key_intervals: Key-frame durations l.
        out: Folder of all results.
        cfg_options: Settings that replace those of every config, by dotted keys.
        digest: Gives of a checkpoint's path what is the same for the same detector's weights, see
            :func:`~semidff.utils.checkpoint.detector_digest`.

    Raises:
        ExperimentError: If a run cannot be tested; the text names it.
        FileNotFoundError: If a config does not exist.
        CheckpointError: If a checkpoint does not exist or cannot be read.
    """
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    keys = {run: _detector_key(run, environment, digest) for run in runs}
    frames = _missing_frames(keys)
    settings = dict(
        work_dir=out,
        steps=[],
        rows=[vars(run) for run in (*frames, *runs)],
        key_intervals=list(key_intervals),
        cfg_options=dict(cfg_options or {}),
    )
    keys |= frames
    return Curve(build_experiment(settings, environment), {run.name: keys[run] for run in keys})


def _missing_frames(keys: Mapping[Run, str]) -> dict[Run, str]:
    """A *frame* for each detector that has none among the runs.

    The first is called just that, so that its evaluation is kept when runs are added.
    """
    present = {key for run, key in keys.items() if run.method == 'frame'}
    frames: dict[str, Run] = {}
    for run, key in keys.items():
        if key not in present:
            name = f'frame-{run.name}' if frames else 'frame'
            frames.setdefault(key, replace(run, name=name, method='frame'))
    return {run: key for key, run in frames.items()}


def _detector_key(run: Run, environment: Mapping[str, str], weights: Callable[[str], str]) -> str:
    """The same for runs whose detector, weights and test data are the same."""
    config = json.loads(config_text(run.config, environment))
    model = config.get('model')
    if not model:
        raise ExperimentError(f'run {run.name!r}: {run.config} has no model.')
    detector = dict(model.get('detector') or model)
    preprocessor = dict(detector.pop('data_preprocessor', model.get('data_preprocessor')) or {})
    for name in ('train_cfg', 'init_cfg'):
        detector.pop(name, None)
    preprocessor.pop('type', None)
    test = [config.get(name) for name in ('test_dataloader', 'test_evaluator')]
    digest = hashlib.sha256(json.dumps([detector, preprocessor, test], sort_keys=True).encode())
    with silenced():
        return f'{digest.hexdigest()} {weights(run.checkpoint)}'
