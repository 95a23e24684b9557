"""CUDA graphs of stock detectors on the simulated GPU, and what frames need beside them.

Detectors are narrow and have random weights. Frames have one size, then another. Boxes are compared
with those of eager frames on the CPU; kernels and waits are those of the last non-key frame.
"""

import copy
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import torch
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from semidff.checkpoints.building import build_video_detector
from semidff.datasets.video_readers import Frame
from semidff.inference import Acceleration, Point, Stages, accelerate
from semidff.inference.executors import Executor
from semidff.models import VideoDetector
from semidff.models.spatial import plain_samples
from semidff.points.speed import batch_of
from semidff.synthetic.smooth_video import smooth_frames
from tests.simulated_gpu import SimulatedGPU, simulated_gpu
from tests.tiny.models import unmatched
from tests.tiny.stages import frame_of

from .stock_detectors import STOCK, Size, build_stock, fit_statistics, pictures
from .video_detectors import SPLITS, video_detector

RFCN = 'configs/semi_dff/semi-dff_r101_imagenet-det-vid.py'
KEY_INTERVAL = 3
SCORES = re.compile(r'(_cls|_obj|cls_branches|fc_cls|cls_embed|heatmap_head)(\.\d+)*$')
"""Names of layers that predict class scores and objectness."""


class Path(NamedTuple):
    """What the frames of a video need on the GPU.

    Attributes:
        end: Where the graph of non-key frames ends: ``boxes``, ``raw outputs``, ``maps``, or ''
            without a graph.
        captures: Number of captures; ``failed`` likewise.
        kernels: Kernels of a non-key frame beside its graph.
        waits: Waits of a non-key frame.
    """

    end: str
    captures: int
    failed: int
    kernels: int
    waits: Counter[str]


def build(config: str, split: str = SPLITS[0]) -> tuple[VideoDetector, Size]:
    """Return a video detector with random weights, narrow but for R-FCN, and its frames' size."""
    init_default_scope('mmdet')
    if config == RFCN:
        model = build_video_detector(config).eval().requires_grad_(False)
        model.temporal.flow_network.reset_parameters(None)
        return model, (96, 128)
    size = next(stock.small for stock in STOCK if stock.config == config)
    detector = build_stock(config, narrow=True)
    with suppress(TypeError):  # of heads without raw outputs, behind the features
        fit_statistics(detector, size, 2)  # of one frame, a map of one cell has none
    detector.eval()
    spread_scores(detector, size)
    return video_detector(detector, split).requires_grad_(False), size


@torch.no_grad()
def spread_scores(detector: nn.Module, size: Size) -> None:
    """Change the layers that predict classes so that no scores are equal."""
    deviations = {}

    def measure(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        deviations[module] = max(output.std().item(), deviations.get(module, 1e-6))

    layers = [module for name, module in detector.named_modules() if SCORES.search(name)]
    hooks = [layer.register_forward_hook(measure) for layer in layers if hasattr(layer, 'weight')]
    detector.predict(pictures(size)[0], plain_samples(2, size))
    for hook in hooks:
        hook.remove()
    for layer, deviation in deviations.items():
        layer.weight.mul_(2 / deviation)
        layer.bias.fill_(-2)


def detect(
    executor: Executor, size: Size, gpu: SimulatedGPU | None = None
) -> tuple[list[InstanceData], Path | None]:
    """Detect in a video of two frame sizes; on a GPU, return what its frames need, too."""
    called: list[int] = []
    head = first_head(executor.model)
    layers = [one for one in head.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    hooks = [one.register_forward_pre_hook(lambda *_: called.append(1)) for one in layers]
    count, failed, captures = KEY_INTERVAL + 2, 0, 0  # the last one is no key frame
    sizes = [size, (size[0], size[1] + 64)]

    def frames() -> Iterator[Frame]:
        nonlocal failed, captures
        for image in (image for one in sizes for image in smooth_frames(count, *one)):
            if gpu is not None:
                failed, captures = failed + gpu.failed_captures, captures + gpu.captures
                gpu.reset()
            called.clear()
            frame = frame_of(batch_of(image))
            if gpu is not None:  # as VideoInferencer gives its frames
                frame.inputs = frame.inputs.pin_memory()
            yield frame

    run = Stages(executor, Point('propagate', KEY_INTERVAL)).run(frames(), chunk=1)
    found = [frame.sample.pred_instances for frame in run]
    for hook in hooks:
        hook.remove()
    if gpu is None:
        return found, None
    end = 'maps' if called else 'raw outputs' if gpu.waits.total() > 1 else 'boxes'
    path = Path(end if gpu.replays else '', captures, failed, gpu.kernels, gpu.waits)
    return found, path


def first_head(model: VideoDetector) -> nn.Module:
    """Return the head whose outputs are the raw outputs, or the proposals of the second stage."""
    detector = model.spatial.detector
    panoptic = getattr(detector, 'panoptic_head', None)
    return panoptic or model.spatial.heads.dense_head or detector.bbox_head


def compare(model: VideoDetector, size: Size) -> tuple[Path, int, int]:
    """Return the path, the number of the CPU's boxes, and that of boxes without a counterpart."""
    expected, _ = detect(model, size)
    with simulated_gpu() as gpu:
        found, path = detect(on_gpu(model), size, gpu)
    assert all(one.bboxes.device.type == 'cpu' for one in found)
    lost = max(unmatched(found, expected, 1e-4), unmatched(expected, found, 1e-4))
    return path, sum(map(len, expected)), lost


def on_gpu(model: VideoDetector, options: Acceleration | None = None) -> Executor:
    """Copy a model to the simulated GPU, to which pinned frames are sent as by an inferencer."""
    executor = accelerate(copy.deepcopy(model).to('cuda'), options or Acceleration())
    executor.model.data_preprocessor._non_blocking = True
    return executor
