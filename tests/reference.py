"""Results of a commit as the reference of a later one: a redesign must not change them.

    python -m tests.reference store before.npz [--model MODEL WEIGHTS ...] [--clip FILE ...]
    python -m tests.reference compare before.npz     # the same models and clips; exit status 1 if a
    result differs

Without options, tiny detectors of four kinds run with all methods, filters, light frames and
workers over two scenes of different sizes. ``--model`` adds a config or folder of
``tools/adapt.py`` (weights ``-``), which runs on each clip.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from semidff.apis import VideoInferencer
from semidff.inference import METHODS
from tests.tiny import models

FRAMES = 60  # of each clip
FILTERS = None, 'causal', 'both', 'identities'


def tiny_video() -> list[np.ndarray]:
    """A texture with moving squares: 23 frames of one size, 9 of another."""
    rng, frames = np.random.default_rng(7), []
    background = rng.integers(0, 80, (96, 128, 3), dtype=np.uint8)
    textures = rng.integers(100, 255, (3, 28, 28, 3), dtype=np.uint8)
    for index in range(32):
        image = background.copy()
        for number, texture in enumerate(textures):
            x, y = 4 + (2 + number) * index % 90, 6 + 26 * number
            image[y : y + 28, x : x + 28] = texture
        frames.append(image if index < 23 else image[:, :96].copy())
    return frames


def tiny_config(folder: Path, kind: str) -> tuple[Config, Path]:
    """Write random weights of a tiny video detector; return its config, too."""
    config = Config(
        dict(
            default_scope='mmdet',
            custom_imports=dict(imports=['semidff.registry']),
            model=models.video_config(kind, 'VideoDetector'),
            test_dataloader=dict(
                dataset=dict(
                    type='CocoVIDDataset',
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='Resize', scale=(128, 96), keep_ratio=True),
                        dict(type='PackVideoFrame'),
                    ],
                )
            ),
        )
    )
    weights, classes = folder / f'{kind}.pth', dict(classes=('a', 'b'))
    state = models.tiny_video_detector(kind).state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=classes)), weights)
    return config, weights


def tiny_settings(kind: str) -> Iterator[dict]:
    """Settings of a tiny detector: all methods of RetinaNet, three of the others."""
    methods = METHODS.module_dict if kind == 'retinanet' else ('frame', 'propagate', 'track')
    methods = [name for name in methods if name != 'coast']  # a former name of track
    yield from (
        dict(method=m, key_interval=i, filter=f, workers=w)
        for m, i, f, w in product(methods, (1, 4), FILTERS, (1, 2))
    )
    yield from (
        dict(method=m, key_interval=6, light_every=e, filter=f)
        for m, e, f in product(('propagate', 'small'), (0, 2, 3), ('causal', 'both'))
        if m in methods
    )


def cases(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, dict, list]]:
    """Name, arguments of the inferencer and videos of each case."""
    for kind in models.EXPORTED:
        config, weights = tiny_config(folder, kind)
        for setting in tiny_settings(kind):
            yield (
                f'{kind} {setting}',
                dict(model=config, weights=weights, **setting),
                [tiny_video()],
            )
    for model, weights in arguments.model:
        common = dict(model=model, weights=None if weights == '-' else weights, workers=2)
        methods = ['propagate'] if weights == '-' else ['small']
        settings = [dict(method='frame'), dict(method='frame', filter='causal')]
        settings += [
            dict(method=m, key_interval=10, filter=f)
            for m, f in product(['track', 'interpolate', *methods], ('causal', 'both'))
        ]
        settings += [dict(method=methods[0], key_interval=10, light_every=3)]
        settings += [{}] if weights == '-' else []  # what the folder recommends
        for setting in settings:
            yield f'{model} {setting}', common | setting, arguments.clip


def results(arguments: argparse.Namespace) -> Iterator[tuple[str, np.ndarray]]:
    """Name and detections (n, 10) of each case: video, frame, kind of frame, label, track id,
    score, box.
    """
    kinds = ['key', 'light', 'tracked']
    with tempfile.TemporaryDirectory() as folder:
        for name, setting, videos in cases(arguments, Path(folder)):
            # The default runtime takes over from PyTorch when it is ready.
            setting = dict(runtime='torch', device='cpu', show_progress=False) | setting
            inferencer = VideoInferencer(**setting)
            rows = []
            for number, video in enumerate(videos):
                for sample in inferencer(video, max_frames=FRAMES):
                    found = sample.pred_instances
                    ids = found.get('instances_id', torch.full_like(found.labels, -2))
                    row = [number, sample.frame_id, kinds.index(sample.frame_kind)]
                    columns = found.labels, ids, found.scores
                    numbers = torch.stack([c.double() for c in columns], 1)
                    own = torch.cat([numbers, found.bboxes.double()], 1).numpy()
                    # A frame without detections has a row, too.
                    own = own if len(own) else np.full((1, 7), -1.0)
                    rows.append(np.hstack([np.tile(row, (len(own), 1)), own]))
            yield name, np.concatenate(rows)


def compare(before: np.ndarray, now: np.ndarray) -> str:
    """Return how results differ; '' if all bits are equal."""
    if before.shape != now.shape:
        return f'{len(before)} rows before, {len(now)} now'
    if np.array_equal(before, now):
        return ''
    if not np.array_equal(before[:, :5], now[:, :5]):
        return 'other frames, labels or track ids'
    difference = np.abs(before - now).max(0)
    return f'scores within {difference[5]:.1e}, boxes within {difference[6:].max():.1e} pixels'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('action', choices=['store', 'compare'])
    parser.add_argument('file')
    parser.add_argument('--model', nargs=2, action='append', default=[])
    parser.add_argument('--clip', action='append', default=[])
    arguments = parser.parse_args()
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    if arguments.action == 'store':
        np.savez_compressed(arguments.file, **dict(results(arguments)))
        return 0
    before, count, different = np.load(arguments.file), 0, 0
    for name, now in results(arguments):
        count += 1
        text = compare(before[name], now) if name in before else 'not stored'
        if text:
            different += 1
            print(f'{name}: {text}', flush=True)
    print(f'{count} cases, {different} differ; {len(before.files)} stored')
    return int(different > 0)


if __name__ == '__main__':
    sys.exit(main())
