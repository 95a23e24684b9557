"""The package on a GPU that it has not met: correctness, then frames per second, then an
adaptation.

    tests/gpu/prepare.sh                                        # packages for a machine without
    network python -m tests.gpu.check [--seconds 420] [--only NAME ...] python -m tests.gpu.check
    --sim                  # the graphs alone, on the tests' simulated GPU

A check yields rows of figures, which are printed and written to ``$OUT/rows.json``. One that raises
says where, and the next one goes on. The end, also in ``$OUT/summary.md``, has the rows that
deviate and the table for docs/speed.md. On the simulated GPU, detectors are narrow and frames
small.
"""

import argparse
import gc
import json
import logging
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache, partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from mmdet.structures import SampleList
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from torch import nn

from semidff.apis import VideoInferencer, adapt
from semidff.checkpoints.building import build_video_detector
from semidff.inference import METHODS, Acceleration
from semidff.inference.executors import Executor
from semidff.inference.point import Point, grid
from semidff.models import VideoDetector
from semidff.points.clips import Clip
from semidff.points.measure import measure
from semidff.points.speed import Timer, batch_of, take_turns
from semidff.points.table import Table
from semidff.synthetic.smooth_video import smooth_frames, write_smooth_video
from semidff.utils.tables import markdown_table
from tests import simulated_gpu
from tests.detectors import graph_path
from tests.detectors.graph_path import spread_scores
from tests.detectors.stock_detectors import build_stock, calibrate, fit_statistics
from tests.detectors.video_detectors import SEMANTIC, video_detector
from tests.tiny import models
from tests.tiny import videos as tiny_video
from tests.tiny.stages import live, results, stages, together

SIM = '--sim' in sys.argv
COMMIT = Path('work_dirs/gpu_site/commit')  # of prepare.sh
# Config, split point, and height and width of the network's input.
CASES = {
    'rfcn-tiny': ('', '', (96, 128)),
    'retinanet-r50': ('retinanet/retinanet_r50_fpn_1x_coco', 'OutputSplit', (608, 1024)),
    'faster-rcnn-r50': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 'OutputSplit', (608, 1024)),
    'rtmdet-tiny': ('rtmdet/rtmdet_tiny_8xb32-300e_coco', 'TowerSplit', (640, 640)),
    'dino-r50': ('dino/dino-4scale_r50_8xb2-12e_coco', 'ExtractFeatSplit', (608, 1024)),
    'rfcn-r101': ('configs/semi_dff/semi-dff_r101_imagenet-det-vid.py', '', (608, 1024)),
}
DEVIATIONS = 'raised', 'unmatched', 'waits', 'warnings', 'errors'
REPLAYS: Counter[int] = Counter()
"""Number of replays by graph."""
Rows = Iterator[dict[str, Any]]


def size_of(name: str) -> tuple[int, int]:
    return (96, 128) if SIM else CASES[name][2]


@cache
def build(name: str) -> VideoDetector:
    """Build a detector on the CPU, with random weights that find boxes."""
    config, split, size = CASES[name]
    if not config:
        return models.tiny_video_detector('rfcn').eval()
    if not split:
        model = build_video_detector(config).eval()
        model.temporal.flow_network.reset_parameters(None)
        return model
    size = (320, 384) if SIM else size
    detector = build_stock(config, narrow=SIM)
    fit_statistics(detector, size)
    spread_scores(detector, size)
    calibrate(detector, size)
    return video_detector(detector, split)


def on_gpu(name: str, precision: str = 'fp32', graphs: bool = True) -> Executor:
    """Return a copy on the GPU, in half precision with channels-last maps."""
    options = Acceleration(precision, channels_last=precision != 'fp32', graphs=graphs)
    return graph_path.on_gpu(build(name), options)


@cache
def pair(name: str, precision: str = 'fp32') -> tuple[Executor, Executor]:
    """Return a detector with graphs, and without them."""
    return on_gpu(name, precision), on_gpu(name, precision, graphs=False)


def detect(executor: Executor, frames: Iterable, chunked: bool = False) -> SampleList:
    chunk = None if chunked else 1
    return results(stages(executor, key_interval=5), map(batch_of, frames), chunk=chunk)


def difference(found: SampleList, expected: SampleList) -> dict[str, int]:
    """Count the boxes, and those without counterpart on either side.

    Of the boxes with the lowest score, any may have been left out.
    """
    own, others = [], []
    for pair_of_results in zip(found, expected, strict=True):
        both = [result.pred_instances.cpu() for result in pair_of_results]
        lowest = max((one.scores.min() for one in both if len(one)), default=0) * 1.005
        for kept, one in zip((own, others), both, strict=True):
            kept.append(one[one.scores > lowest])
    lost = models.unmatched(own, others, 1e-3) + models.unmatched(others, own, 1e-3)
    return dict(boxes=sum(map(len, others)), unmatched=lost)


def check_graphs(name: str, precision: str = 'fp32') -> Rows:
    """Graphs find what eager frames find, in frames of two sizes and in chunks, and wait for
    nothing."""
    graphs, eager = pair(name, precision)
    height, width = size_of(name)
    for size, chunked in product(((height, width), (height - 32, width - 32)), (False, True)):
        frames = smooth_frames(12, *size)
        for _ in range(1 + chunked):  # chunks are captured when they occur again
            REPLAYS.clear()
            found = detect(graphs, frames, chunked)
        row = difference(found, detect(eager, frames, chunked))
        yield dict(row, size=size, chunked=chunked, graphs=len(REPLAYS), replays=REPLAYS.total())
    row = dict(waits=waits(graphs, frames), waits_of_eager=waits(eager, frames).total())
    yield dict(row, reserved=torch.cuda.memory_reserved() >> 20)


def waits(executor: Executor, frames: Sequence[np.ndarray]) -> Counter[str]:
    """Count by its place how often the host waits for the GPU, but for the results."""
    batches = list(map(batch_of, frames))
    for batch in batches:
        batch['inputs'] = [image.pin_memory() for image in batch['inputs']]
    simulated_gpu.GPU.waits.clear()
    torch.cuda.set_sync_debug_mode('warn')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        live(stages(executor, key_interval=5), batches)
    torch.cuda.set_sync_debug_mode('default')
    caught = [each for each in caught if 'called a synchronizing' in str(each.message)]
    places = Counter(f'{Path(each.filename).name}:{each.lineno}' for each in caught)
    places.update(simulated_gpu.GPU.waits)
    del places['synchronize']  # for the results
    return places


def check_held(name: str) -> Rows:
    """Constants that leave their caches and memory that is freed do not reach a graph."""
    graphs, eager = pair(name)
    frames = smooth_frames(12, *size_of(name))
    expected = detect(eager, frames)
    detect(graphs, frames)
    for number in range(70):  # more sizes than any cache holds
        detect(graphs, smooth_frames(2, 64 + 32 * (number % 7), 64 + 32 * (number // 7)))
    gc.collect()
    torch.cuda.empty_cache()
    sizes = [2**power for power in range(4, 27)]
    garbage = [torch.full((size,), torch.nan, device='cuda:0') for size in (*sizes, *sizes)]
    yield dict(difference(detect(graphs, frames), expected), garbage=len(garbage))


def check_pool(name: str) -> Rows:
    """Graphs share memory: streams take turns in any order, in batches of one to three frames."""
    images, found = smooth_frames(30, *size_of(name)), []
    for model in pair(name):
        draw, turns = random.Random(0), []
        for turn in range(20):
            streams = draw.sample(range(4), draw.randint(1, 3))
            turns.append({n: batch_of(images[(turn + 7 * n) % 30]) for n in streams})
        found.append(sum(together(stages(model, key_interval=5), turns), []))
    yield difference(*found)


def check_failed_capture(name: str) -> Rows:
    """A capture that fails leaves stream, generator, allocator and the next capture as they
    were."""

    def wait(*_: Any) -> None:
        if torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize()

    frames, before = smooth_frames(12, *size_of(name)), torch.cuda.current_stream()
    expected, broken = detect(pair(name)[1], frames), on_gpu(name)
    next(m for m in broken.model.modules() if isinstance(m, nn.Conv2d)).register_forward_hook(wait)
    yield difference(detect(broken, frames), expected)  # with a warning
    torch.manual_seed(0)
    torch.rand(3, device='cuda:0')
    torch.cuda.empty_cache()
    row = difference(detect(on_gpu(name), frames), expected)
    yield dict(row, errors=['another stream'] * (torch.cuda.current_stream() != before))


def check_threads(name: str) -> Rows:
    """Two threads capture at the same time, at last while a third one waits for the GPU."""
    frames = smooth_frames(12, *size_of(name))
    expected = detect(pair(name)[1], frames)
    for waiting in (False, True):
        with ThreadPoolExecutor() as pool:
            work = [pool.submit(lambda: detect(on_gpu(name), frames)) for _ in range(2)]
            while waiting and not all(each.done() for each in work):
                torch.cuda.synchronize()
                time.sleep(0.002)
        for each in work:
            yield dict(difference(each.result(), expected), waiting=waiting)


def check_operators() -> Rows:
    """The tests of mmcv's operators pass on the GPU, and NMS keeps the same boxes of equal scores
    as on the CPU."""
    failed: list[str] = []
    plugin = SimpleNamespace(
        pytest_runtest_logreport=lambda report: failed.extend([report.nodeid] * report.failed)
    )
    file = 'tests/test_compat/test_torchvision_operators.py'
    with (
        torch.device('cuda:0'),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        patch.dict(os.environ, SEMIDFF_TEST_GPU='1'),  # otherwise tests hide the GPU
    ):
        pytest.main(['-q', '-p', 'no:cacheprovider', '--tb=line', file], [plugin])
    yield dict(errors=failed)
    from mmcv.ops import nms  # after semidff

    generator = torch.Generator().manual_seed(0)
    boxes = torch.randint(0, 12, (600, 4), generator=generator).float()
    boxes[:, 2:] += boxes[:, :2] + 1
    scores = torch.randint(0, 40, (600,), generator=generator) / 40
    for threshold in (0.3, 0.5, 0.7):
        found = nms(boxes.to('cuda:0'), scores.to('cuda:0'), threshold)[1].tolist()
        expected = nms(boxes, scores, threshold)[1].tolist()
        yield dict(ties=threshold, boxes=len(expected), unmatched=len({*found} ^ {*expected}))


@cache
def project() -> Path:
    """Write a tiny video detector, a video and its frames."""
    folder = Path(tempfile.mkdtemp())
    tiny_video.write_project(folder, (24,))
    checkpoint = torch.load(folder / 'two.pth')
    # Scores are alike otherwise.
    checkpoint['state_dict']['spatial.detector.bbox_head.retina_cls.weight'] *= 10
    torch.save(checkpoint, folder / 'two.pth')
    write_smooth_video(folder / 'pan.mp4', 22, 64, 96)
    return folder


def inferencer(device: str, method: str) -> VideoInferencer:
    files = str(project() / 'config.py'), str(project() / 'two.pth')
    return VideoInferencer(*files, device=device, method=method, show_progress=False)


def check_operating_points() -> Rows:
    """Operating points can be measured."""
    clip = Clip(files=tuple(map(str, sorted(project().glob('v0_*.png')))))
    methods, scales = ['track', 'propagate', 'centered'], [1.0, 0.5]
    points = grid(method=methods, key_interval=[5, 10], scale=scales)
    executor = inferencer('cuda:0', 'propagate').stages.method.executor
    table = Table.open(Path(tempfile.mkdtemp()) / 'points.json', {})
    measure(table, points, [clip], lambda point: executor, rounds=1)
    yield dict(points=len(table.measured))


def check_inferencers() -> Rows:
    """Every method detects in a file what it detects on the CPU, without TF32."""
    video = str(project() / 'pan.mp4')
    for method in METHODS.module_dict:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found = list(inferencer('cuda:0', method)(video))
        devices = sorted({str(result.pred_instances.bboxes.device) for result in found})
        row = difference(found, list(inferencer('cpu', method)(video)))
        yield dict(row, method=method, devices=devices)


def check_training() -> Rows:
    """Steps of a distillation: precisions, optimizers, and the feature cache."""
    wrappers = dict(fp32='OptimWrapper', bf16='BFloat16OptimWrapper', fp16='AmpOptimWrapper')
    optimizers = dict(type='Adam', lr=1e-3, fused=True), dict(type='RMSpropMX', lr=5e-5)
    images = torch.from_numpy(np.stack(smooth_frames(2, 64, 96))).permute(0, 3, 1, 2)
    for (precision, wrapper), optimizer in product(wrappers.items(), optimizers):
        cached = 0.1 * (optimizer['type'] == 'RMSpropMX')
        model = models.build(models.video_config('retinanet', feature_cache=cached)).to('cuda:0')
        model.set_objectives([dict(type='FeatureRegression'), *SEMANTIC[0]], SEMANTIC[1])
        model.train()
        settings = dict(type=wrapper, optimizer=optimizer, clip_grad=dict(max_norm=0.1))
        optim, losses = build_optim_wrapper(model, settings), []
        for _ in range(4):
            batch = dict(inputs=[images, images.flip(-1)], data_samples=models.samples(2))
            losses.append(round(float(model.train_step(batch, optim)['loss']), 4))
        yield dict(precision=precision, optimizer=optimizer['type'], losses=losses)


def plain(results: dict) -> dict:
    """Test pipeline that leaves frames as they are."""
    return {name: values[0] for name, values in batch_of(results['img']).items()}


def check_speed(name: str, precision: str) -> Rows:
    """Frames per second from the copy to boxes at l = 10, and milliseconds of its key and non-key
    frames."""
    frames, tasks = smooth_frames(21, *size_of(name)), {}
    for graphs in (False, True):
        executor = on_gpu(name, precision, graphs)
        for method in ('frame', 'propagate'):
            run = Timer(executor, Point(method, 10), plain).run
            tasks[graphs, method] = partial(lambda run: run(iter(frames)), run)
            tasks[graphs, method]()  # chunks are captured when they occur again
    laps = take_turns(tasks, 3)
    for graphs in (False, True):
        shares = dict(frame=(1.0, 0.0), propagate=(0.1, 0.9))
        fps = {
            method: 1 / float(np.median([lap.network(*own) for lap in laps[graphs, method]]))
            for method, own in shares.items()
        }
        key, non_key = np.median([lap[2:4] for lap in laps[graphs, 'propagate']], axis=0) * 1000
        row = dict(precision=precision, graphs=graphs, **fps, key=key, non_key=non_key)
        yield dict(row, boxes=round(laps[graphs, 'propagate'][0].boxes))


def check_adaptation() -> Rows:
    """From a detector and unlabeled videos to a report."""
    folder = Path(tempfile.mkdtemp())
    (folder / 'videos').mkdir()
    tiny_video.write_detector(folder)
    for number in range(4):
        write_smooth_video(folder / 'videos' / f'{number}.mp4', 40, 64, 96)
    given = str(folder / 'detector.py'), folder / 'one.pth', [folder / 'videos']
    out = adapt(
        *given,
        out=folder / 'out',
        minutes=1,
        anyway=True,
        device='cuda:0',
        runtime='torch',
    )
    yield dict(files=sorted(file.name for file in out.iterdir() if file.is_file()))


TINY, *LARGE = CASES
NAMES = [f'{check} {TINY}' for check in ('graphs', 'held', 'pool', 'failed_capture', 'threads')]
NAMES += ['operators', 'operating_points', 'inferencers', 'training']
NAMES += [f'graphs {name}' for name in LARGE[:-1]]
NAMES += ['held faster-rcnn-r50', 'pool faster-rcnn-r50']
NAMES += [f'graphs {name} bf16' for name in ('retinanet-r50', TINY)]
SPEED = [f'speed {name} {precision}' for precision in ('fp32', 'bf16', 'fp16') for name in LARGE]
# Seconds that have to be left: the adaptation takes two minutes.
CHECKS = dict.fromkeys(NAMES, 15) | dict.fromkeys(SPEED, 120) | dict(adaptation=30)


class Report(logging.Handler):
    """The rows, each with the warnings in the log since the one before."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.rows: list[dict] = []
        self._start, self._warnings = time.monotonic(), []

    def emit(self, record: logging.LogRecord) -> None:
        if 'propagates in both directions' not in record.getMessage():
            self._warnings.append(record.getMessage()[:200])

    def seconds(self) -> float:
        return round(time.monotonic() - self._start, 1)

    def note(self, check: str, **row: Any) -> None:
        """Print a row, and write everything."""
        row = dict(check=check, at=self.seconds(), **row)
        if self._warnings:
            row['warnings'], self._warnings = self._warnings, []
        self.rows.append(row)
        print(json.dumps(row, default=str), flush=True)
        if folder := os.environ.get('OUT'):
            Path(folder, 'rows.json').write_text(json.dumps(self.rows, indent=1, default=str))
            Path(folder, 'summary.md').write_text(self.summary())

    def run(self, name: str) -> None:
        check, *arguments = name.split()
        try:
            for row in globals()[f'check_{check}'](*arguments):
                self.note(name, **row)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)[-4:]
            place = [f'{Path(frame.filename).name}:{frame.lineno}' for frame in frames]
            self.note(name, raised=f'{type(error).__name__}: {error}'[:300], place=place)
        gc.collect()

    def summary(self) -> str:
        """Return the rows that deviate, and the table of speed."""
        found = [
            row
            for row in self.rows
            if row.get('boxes') == 0 or any(row.get(name) for name in DEVIATIONS)
        ]
        head = 'detector', 'precision', 'graphs', 'dense', '*l* = 10', 'speed-up', 'key', 'non-key'
        table = [head]
        for row in (row for row in self.rows if 'propagate' in row):
            dense, fast, *single = (row[key] for key in ('frame', 'propagate', 'key', 'non_key'))
            figures = f'{dense:.1f}', f'{fast:.1f}', f'{fast / dense:.2f}×'
            names = row['check'].split()[1], row['precision'], 'yes' if row['graphs'] else 'no'
            table.append((*names, *figures, *(f'{each:.1f}' for each in single)))
        lines = f'{len(found)} of {len(self.rows)} rows deviate:', *map(str, found), ''
        title = f'Frames per second; milliseconds of single frames; {self.rows[0]}'
        return '\n'.join([*lines, title, '', markdown_table(table), ''])


def counted(replay: Callable[[Any], None]) -> Callable[[Any], None]:
    def call(graph: Any) -> None:
        REPLAYS[id(graph)] += 1
        replay(graph)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=420, help='time limit')
    parser.add_argument('--only', nargs='+', default=[''], help='beginnings of the names of checks')
    parser.add_argument('--sim', action='store_true', help='graphs on the simulated GPU')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    report, gpu = Report(), simulated_gpu.simulated_gpu if SIM else nullcontext
    MMLogger.get_current_instance().addHandler(report)
    with gpu():
        machine = dict(device=torch.cuda.get_device_name(), torch=torch.__version__)
    machine['commit'] = COMMIT.read_text().strip() if COMMIT.exists() else 'unknown'
    machine['tf32'] = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    report.note('machine', **machine)
    for name, needed in CHECKS.items():
        if not name.startswith(tuple(args.only)) or (SIM and not name.startswith('graphs')):
            continue
        if args.seconds - report.seconds() < needed:
            report.note(name, skipped='out of time')
            continue
        with gpu():
            kind = torch.cuda.CUDAGraph
            with patch.object(kind, 'replay', counted(kind.replay)):
                report.run(name)
    print(f'\n{report.summary()}')


if __name__ == '__main__':
    main()
