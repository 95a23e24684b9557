"""Writing a generated data set: only missing parts, in several processes, the manifest last."""

import json
import shutil
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from semidff.utils.atomic_write import write_json
from semidff.utils.progress import track
from semidff.utils.run_folder import occupy
from semidff.utils.worker_pool import mapped

from .parts import PARTS, Part
from .presets import VERSION, DatasetSpec
from .sprites import CLASSES, CROP_CLASSES

# Existing data sets are recognized by these names.
MANIFEST = 'world.json'
_UNFINISHED = 'world.unfinished.json'


def build_dataset(root: str | Path, spec: DatasetSpec, workers: int = 1) -> dict:
    """Write a data set, or the missing parts of it, into a folder.

    A part is kept if an earlier call finished it with the same arguments and all of its files
    exist. Any other part is removed and generated again. The manifest ``world.json`` is written
    last: if it exists, the data set is complete.

    Args:
        workers: Number of processes. The result does not depend on it.

    Returns:
        The manifest.

    Raises:
        ValueError: If ``workers`` is not positive.
        FolderInUse: If another process writes a data set into the folder.
        OSError: If a file cannot be written, or if the folder holds files of these names that were
            not generated.
    """
    if workers < 1:
        raise ValueError(f'workers={workers}: must be at least 1')
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    _refuse_foreign(root)
    if not _missing(root, spec) and _read(root / MANIFEST).get('spec') == asdict(spec):
        names = ', '.join(part.name for part in _wanted(spec))
        print(f'{root}: the data set is there already ({names})')
        return _read(root / MANIFEST)
    with occupy(root, 'make_synthetic', 'folder'):
        return _build(root, spec, workers)


def _wanted(spec: DatasetSpec) -> list[Part]:
    return [part for part in PARTS if spec.count(part.name)]


def _finished(root: Path) -> dict[str, dict]:
    """Return what the manifest has of the parts that earlier calls finished, by their names."""
    return (_read(root / MANIFEST) or _read(root / _UNFINISHED)).get('parts', {})


def _missing(root: Path, spec: DatasetSpec) -> list[Part]:
    done = _finished(root)
    return [p for p in _wanted(spec) if not _is_complete(root, p, spec, done.get(p.name))]


def _build(root: Path, spec: DatasetSpec, workers: int) -> dict:
    """Generate the missing parts and write the manifest."""
    wanted, missing, done = _wanted(spec), _missing(root, spec), _finished(root)
    manifest = {
        'version': VERSION,
        'spec': asdict(spec),
        'classes': CLASSES,
        'crop_classes': CROP_CLASSES,
        'parts': {p.name: done[p.name] for p in wanted if p not in missing},
    }
    (root / MANIFEST).unlink(missing_ok=True)
    write_json(manifest, root / _UNFINISHED)
    for part in PARTS:
        if part not in wanted or part in missing:
            for path in (root / output for output in part.outputs):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    for number, part in enumerate(missing, 1):
        start = time.monotonic()
        summary = _build_part(root, part, spec, workers)
        manifest['parts'][part.name] = {'arguments': _arguments(part, spec), **summary}
        write_json(manifest, root / _UNFINISHED)
        print(
            f'[{number}/{len(missing)}] {part.name}: {spec.count(part.name)} items in '
            f'{time.monotonic() - start:.1f} s -> {root}',
            flush=True,
        )
    manifest['parts'] = {part.name: manifest['parts'][part.name] for part in wanted}
    write_json(manifest, root / MANIFEST)
    (root / _UNFINISHED).unlink()
    return _read(root / MANIFEST)


def _build_part(root: Path, part: Part, spec: DatasetSpec, workers: int) -> dict:
    for output in part.outputs:
        if '.' not in output:
            (root / output).mkdir()
    count = spec.count(part.name)
    make = partial(_make_item, root, spec, part.name)
    chunk = max(1, min(16, count // (8 * workers)))
    with mapped(make, range(count), workers, chunk) as results:
        records = list(track(results, part.name, count, 'items'))
    return part.finish(root, spec, records)


def _make_item(root: Path, spec: DatasetSpec, name: str, index: int) -> object:
    part = next(part for part in PARTS if part.name == name)
    return part.make(root, spec, index, part.seed(spec, index))


def _arguments(part: Part, spec: DatasetSpec) -> dict:
    names = ('seed', 'height', 'width', part.name.removesuffix('_labels'), *part.fields)
    return {'version': VERSION, **{name: getattr(spec, name) for name in names}}


def _refuse_foreign(root: Path) -> None:
    """Raise FileExistsError where building would remove files that were not generated."""
    if (root / MANIFEST).exists() or (root / _UNFINISHED).exists():
        return
    for path in (root / output for part in PARTS for output in part.outputs):
        if path.exists():
            raise FileExistsError(
                f'{path} exists, but {root} has no {MANIFEST}: this is not a folder of a generated '
                'data set. Choose another folder, or remove that one yourself'
            )


def _is_complete(root: Path, part: Part, spec: DatasetSpec, entry: dict | None) -> bool:
    if entry is None or entry.get('arguments') != _arguments(part, spec):
        return False
    paths = [root / output for output in part.outputs]
    paths += [path for folder in paths for path in folder.rglob('*')]
    files = [path for path in paths if path.is_file()]
    return len(files) == part.files(spec) and all(path.stat().st_size for path in files)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except json.JSONDecodeError:
        return {}
