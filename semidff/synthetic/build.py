"""Writes a world: only the parts that are missing, in several processes, the manifest last."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import cv2
from mmengine.utils import ProgressBar

from .parts import PARTS, Part, dump_json
from .presets import VERSION, DatasetSpec
from .sprites import CLASSES, CROP_CLASSES

MANIFEST = 'world.json'
_UNFINISHED = 'world.unfinished.json'


def build_dataset(root: str | Path, spec: DatasetSpec, workers: int = 1) -> dict:
    """Writes a world into the folder `root`, or what is missing of it.

    A part is kept when an earlier call finished it with the same arguments and its files are all
    there; any other is removed and made anew. The manifest `world.json` appears last: where it
    stands, the world is whole.

    Args:
        root: The folder; made if missing.
        spec: Arguments of the world.
        workers: Number of processes. The result does not depend on it.

    Returns:
        The manifest.

    Raises:
        ValueError: If `workers` is not positive.
        OSError: If something cannot be written, or if the folder holds files of these names from
            elsewhere.
    """
    if workers < 1:
        raise ValueError(f'workers={workers}: must be at least 1')
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    _refuse_foreign(root)
    done = _finished_parts(root)
    wanted = [part for part in PARTS if getattr(spec, part.name)]
    missing = [p for p in wanted if not _is_whole(root, p, spec, done.get(p.name))]
    manifest = {
        'version': VERSION,
        'spec': asdict(spec),
        'classes': CLASSES,
        'crop_classes': CROP_CLASSES,
    }
    manifest['parts'] = {p.name: done[p.name] for p in wanted if p not in missing}
    if not missing and _read(root / MANIFEST).get('spec') == asdict(spec):
        print(f'{root}: the world is there already ({", ".join(manifest["parts"])})')
        return _read(root / MANIFEST)
    (root / MANIFEST).unlink(missing_ok=True)
    dump_json(root / _UNFINISHED, manifest)
    for part in PARTS:
        if part not in wanted or part in missing:
            _remove(root, part)
    for number, part in enumerate(missing, 1):
        print(
            f'[{number}/{len(missing)}] {part.name}: {getattr(spec, part.name)} items -> {root}',
            flush=True,
        )
        start = time.time()
        summary = _build_part(root, part, spec, workers)
        manifest['parts'][part.name] = {'arguments': _arguments(part, spec), **summary}
        dump_json(root / _UNFINISHED, manifest)
        print(f'    {time.time() - start:.1f} s', flush=True)
    manifest['parts'] = {part.name: manifest['parts'][part.name] for part in wanted}
    dump_json(root / MANIFEST, manifest)
    (root / _UNFINISHED).unlink()
    return _read(root / MANIFEST)


def _build_part(root: Path, part: Part, spec: DatasetSpec, workers: int) -> dict:
    for output in part.outputs:
        if '.' not in output:
            (root / output).mkdir()
    items = range(getattr(spec, part.name))
    make = partial(_make_item, root, spec, part.name)
    if workers == 1:
        records = _collect(map(make, items), len(items))
    else:
        chunk = max(1, min(16, len(items) // (8 * workers)))
        # forked where possible: importing the package again in a child takes longer than a part
        method = 'fork' if 'fork' in get_all_start_methods() else None
        with get_context(method).Pool(workers, _single_thread) as pool:
            records = _collect(pool.imap(make, items, chunk), len(items))
    return part.finish(root, spec, records)


def _make_item(root: Path, spec: DatasetSpec, name: str, index: int) -> object:
    part = next(part for part in PARTS if part.name == name)
    return part.make(root, spec, index, part.seed(spec, index))


def _single_thread() -> None:
    cv2.setNumThreads(0)  # OpenCV's thread pool does not survive a fork


def _collect(results: Iterable, total: int) -> list:
    """The list of the results, with a progress bar that moves about fifty times in all."""
    bar = ProgressBar(total, bar_width=30)
    step = max(1, total // 50)
    records = []
    for record in results:
        records.append(record)
        if len(records) % step == 0 or len(records) == total:
            bar.update(len(records) - bar.completed)
    print(flush=True)
    return records


def _arguments(part: Part, spec: DatasetSpec) -> dict:
    """What the contents of a part depend on."""
    names = ('seed', 'height', 'width', part.name, *part.fields)
    return {'version': VERSION, **{name: getattr(spec, name) for name in names}}


def _refuse_foreign(root: Path) -> None:
    """Parts are removed before they are made: never in a folder that no world was made in."""
    if (root / MANIFEST).exists() or (root / _UNFINISHED).exists():
        return
    for part in PARTS:
        for output in part.outputs:
            if (root / output).exists():
                raise FileExistsError(
                    f'{root / output} exists, but {root} has no {MANIFEST}: this is not a folder '
                    'of a world. Choose another folder, or remove that one yourself'
                )


def _finished_parts(root: Path) -> dict:
    for name in (MANIFEST, _UNFINISHED):
        if (root / name).exists():
            return _read(root / name).get('parts', {})
    return {}


def _is_whole(root: Path, part: Part, spec: DatasetSpec, entry: dict | None) -> bool:
    if entry is None or entry.get('arguments') != _arguments(part, spec):
        return False
    paths = [
        path for output in part.outputs for path in (root / output, *(root / output).rglob('*'))
    ]
    files = [path for path in paths if path.is_file()]
    return len(files) == part.files(spec) and all(path.stat().st_size for path in files)


def _remove(root: Path, part: Part) -> None:
    for output in part.outputs:
        if (root / output).is_dir():
            shutil.rmtree(root / output)
        else:
            (root / output).unlink(missing_ok=True)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except json.JSONDecodeError:
        return {}
