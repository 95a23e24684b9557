"""Comparison of flow networks by measured time, at a detector and an input size.

How much a flow network may cost depends on the detector: FlowNetS at 3/8 of its width is cheap beside ResNet-101, and
more expensive than RTMDet-tiny. The flow network is a setting of the config, chosen before stage two by this table.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from semidff.inference.timer import timed
from semidff.models.temporal import TemporalModule
from semidff.models.video_detector import VideoDetector
from semidff.utils.tables import text_table

from .complexity import count
from .part_times import PartTimes, batch_of, measure_parts, speedup_of, time_parts

FLOW_NETWORKS = (
    dict(type='FlowNetS'),
    dict(type='FlowNetS', width=1 / 2),
    dict(type='FlowNetS', width=3 / 8),
    dict(type='FlowNetS', width=1 / 4),
    dict(type='FlowNetS', width=3 / 8, downsampling=4),
    dict(type='FlowNetS', width=1 / 8),
    dict(type='FlowNetInception'),
    dict(type='FlowNetLight'),
    dict(type='FlowNetLight', stride=32),
)
MAX_RATIO = 0.1
"""Ratio r of DFF Eq. 5 below which the speed-up at l = 10 is at least 5.3."""


class Candidate(NamedTuple):
    """A flow network's config, the multiply-adds of flow network and scale field, and the part times with it."""

    flow_network: dict
    flops: int
    times: PartTimes


def recommended(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the most expensive flow network with r of at most :data:`MAX_RATIO`, None if there is none."""
    light = [one for one in candidates if one.times.ratio <= MAX_RATIO]
    return max(light, key=lambda one: one.times.flow_and_scale, default=None)


@torch.no_grad()
def compare_flow_networks(
    model: VideoDetector,
    frames: Sequence[np.ndarray],
    repeats: int = 5,
    configs: Sequence[dict] = FLOW_NETWORKS,
) -> list[Candidate]:
    """Measure a video detector's part times with each of several untrained flow networks.

    In each round all of them and the other parts are timed, so that noise of the machine affects them alike.

    Args:
        model: With a :class:`~semidff.models.temporal.TemporalModule`, whose other settings are kept; it is
            put into eval mode.
        frames: Two or more frames of a video, (H, W, 3) uint8, of the network's input size.
        repeats: Number of rounds.
        configs: Configs of flow networks.

    Raises:
        ValueError: If there is no such temporal module, fewer than two frames, or ``repeats`` is less than 1.
    """
    measure_parts(model, frames[:2], repeats=min(repeats, 1))  # warm-up, and checks
    own = model.temporal
    if not isinstance(own, TemporalModule):
        raise ValueError(f'{type(own).__name__} has no flow network that could be replaced')
    key, current = (
        model.data_preprocessor(batch_of(frame), False)['inputs'] for frame in frames[:2]
    )
    features = model.spatial.features(key)
    modules = [
        TemporalModule(
            config,
            own.feat_channels,
            own.feat_strides,
            own.scale is not None,
            init_std=None,
            padding=own.padding,
            correction_width=own.correction_width,
        )
        .to(key)
        .eval()
        for config in configs
    ]
    seconds = [defaultdict(list) for _ in modules]
    others: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        time_parts(model, map(batch_of, frames[:2]), others)
        for module, laps in zip(modules, seconds, strict=True):
            image = module.prepare(key)
            with model.running(), timed(key.device) as lap:
                field = module.fields(image, module.prepare(current))
            laps['flow_and_scale'].append(lap.seconds)
            with model.running(), timed(key.device) as lap:
                module.propagate(features, *field)
            laps['warp'].append(lap.seconds)
    return [
        Candidate(
            config,
            count(module.fields, *[module.prepare(key)] * 2)[0],
            PartTimes.medians(others | laps),
        )
        for config, module, laps in zip(configs, modules, seconds, strict=True)
    ]


def comparison(
    candidates: Sequence[Candidate], key_intervals: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the figures of a comparison, for JSON: one dict for each flow network."""
    return [
        dict(
            flow_network=one.flow_network,
            flops=one.flops,
            ms=one.times._asdict(),
            ratio=one.times.ratio,
            speedups={length: speedup_of(one.times.ratio, length) for length in key_intervals},
        )
        for one in candidates
    ]


def comparison_text(candidates: Sequence[Candidate], key_intervals: Sequence[int]) -> str:
    """Return the table of a comparison for a terminal, and the recommended flow network."""
    speedups = (f's at l = {length}' for length in key_intervals)
    rows = [('flow network', 'GFLOPs', 'F + S, ms', 'warp, ms', 'r', *speedups)]
    for figures in comparison(candidates, key_intervals):
        rows.append(
            (
                _written(figures['flow_network']),
                f'{figures["flops"] / 1e9:.3f}',
                f'{figures["ms"]["flow_and_scale"]:.1f}',
                f'{figures["ms"]["warp"]:.1f}',
                f'{figures["ratio"]:.3f}',
                *(f'{value:.2f}' for value in figures['speedups'].values()),
            )
        )
    best = recommended(candidates)
    if best is None:
        advice = (
            f'No flow network has r <= {MAX_RATIO}: the task network or the warp takes too long.'
        )
    else:
        advice = (
            f'The largest one with r <= {MAX_RATIO}: '
            f'model.temporal.flow_network={_written(best.flow_network)}'
        )
    return f'{text_table(rows)}\n{advice}'


def _written(config: dict) -> str:
    return f'dict({", ".join(f"{key}={value!r}" for key, value in config.items())})'
