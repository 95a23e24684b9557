"""What CUDA graphs save, counted on a CPU.

    python -m tests.detectors.graph_path [NAME ...]

Per key frame and non-key frame: operators with a kernel, and round trips (the host waits for the device, or sends it
values) ahead of the copy of the results. In graphs, only what is outside of the graph counts.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from mmengine.registry import init_default_scope
from torch import nn

from semidff.analysis.check_detector import video_detector
from semidff.analysis.speed import batch_of
from semidff.inference import Acceleration, VideoEngine, accelerate, cuda_graphs
from semidff.models import VideoDetector
from semidff.synthetic.smooth_video import smooth_frames
from semidff.utils.model_building import build_video_detector
from semidff.utils.tables import markdown_table
from tests.host_round_trips import HostRoundTrips

from .stock_detectors import build_stock, fit_statistics

SIZE = (96, 128)
"""Of the frames; the operators do not depend on it."""


# Config and split point of detectors.
CASES = {
    'R-FCN R-101': ('configs/semi_dff/semi-dff_r101_imagenet-det-vid.py', ''),
    'RetinaNet R-50': ('retinanet/retinanet_r50_fpn_1x_coco', 'OutputSplit'),
    'ATSS R-50': ('atss/atss_r50_fpn_1x_coco', 'TowerSplit'),
    'Faster R-CNN R-50': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 'OutputSplit'),
    'RTMDet-tiny': ('rtmdet/rtmdet_tiny_8xb32-300e_coco', 'TowerSplit'),
    'DINO R-50': ('dino/dino-4scale_r50_8xb2-12e_coco', 'ExtractFeatSplit'),
}
KEY_INTERVAL = 5


def build(config: str, split: str) -> VideoDetector:
    """Build a video detector with random weights, narrow apart from R-FCN and the transformer."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    if split:
        detector = build_stock(config, narrow=True, layers=6)
        fit_statistics(detector, SIZE)
        return video_detector(detector, split)
    model = build_video_detector(config).eval()
    model.temporal.flow_network.reset_parameters(None)
    return model


class Counts(NamedTuple):
    kernels: int
    round_trips: int
    inside: int = 0  # kernels in graphs


@contextmanager
def outside(trips: HostRoundTrips) -> Iterator[list[int]]:
    """Count what is inside of graphs apart, and nothing behind the copy of the results."""
    replay, to_host = cuda_graphs.CapturedFunction.replay, cuda_graphs.to_host
    inside, ends = [0], []

    def replayed(graph: cuda_graphs.CapturedFunction) -> None:
        before, found = trips.kernels, trips.found.copy()
        replay(graph)
        assert trips.found == found, f'round trips in a graph: {trips.found - found}'
        inside[0] += trips.kernels - before
        trips.kernels = before + 1  # the launch

    def copied(maps: torch.Tensor) -> torch.Tensor:
        ends.append((trips.kernels, trips.found.copy()))
        return to_host(maps)

    cuda_graphs.CapturedFunction.replay, cuda_graphs.to_host = replayed, copied
    try:
        yield inside
    finally:
        cuda_graphs.CapturedFunction.replay, cuda_graphs.to_host = replay, to_host
        if ends:
            trips.kernels, trips.found = ends[0]


def count(model: nn.Module) -> tuple[Counts, Counts]:
    """Count a key frame and the non-key frame after it, when everything is captured."""
    engine = VideoEngine(model, key_interval=KEY_INTERVAL)
    counts = []
    for frame in smooth_frames(2 * KEY_INTERVAL + 2, *SIZE):
        with HostRoundTrips() as trips, outside(trips) as inside:
            engine.push(batch_of(frame))
        counts.append(Counts(trips.kernels, sum(trips.found.values()), *inside))
    return counts[-2], counts[-1]


def main(names: list[str]) -> None:
    rows = [('detector', 'frame', 'eager', 'outside of the graph', 'in the graph')]
    for name in names or CASES:
        model = build(*CASES[name])
        eager, graphs = count(model), count(accelerate(model, Acceleration(graphs=True)))
        for kind, before, after in zip(('key', 'non-key'), eager, graphs, strict=True):
            cells = (f'{c.kernels} kernels, {c.round_trips} round trips' for c in (before, after))
            rows.append((name, kind, *cells, str(after.inside)))
            print(rows[-1], flush=True)
    print(markdown_table(rows))


if __name__ == '__main__':
    main(sys.argv[1:])
