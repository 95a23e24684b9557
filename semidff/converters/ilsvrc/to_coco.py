"""ImageNet DET and VID in the ILSVRC2015 folder layout -> COCO-VID json."""

import multiprocessing
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from mmengine.utils import ProgressBar

from semidff.datasets.imagenet import VID_WNIDS
from semidff.utils.atomic_write import write_json

from .image_set import read_lines, read_video_image_set
from .xml_file import XMLFrame, XMLObject, read_xml

_FILES_AT_ONCE = 64
_CATEGORY = {wnid: number for number, wnid in enumerate(VID_WNIDS.values(), 1)}


@dataclass
class ConversionReport:
    """What a conversion did.

    Attributes:
        out: The json.
        videos: Number of videos.
        images: Number of images.
        boxes: Number of boxes.
        other_objects: Objects of classes that are not among the 30.
        broken: Annotation file and reason, for each that could not be used; its image is left out.
    """

    out: str
    videos: int = 0
    images: int = 0
    boxes: int = 0
    other_objects: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        """The counts, and the name of every file that was left out."""
        text = f'{self.out}: {self.images} images'
        text += f' of {self.videos} videos' if self.videos else ''
        text += f', {self.boxes} boxes, {self.other_objects} objects of other classes left out'
        if not self.broken:
            return text
        names = ''.join(f'\n  {path}: {reason}' for path, reason in self.broken)
        count = len(self.broken)
        warning = f'WARNING: {count} images left out, their annotation is missing or broken:'
        return f'{text}\n{warning}{names}'


def convert_vid(
    ann_dir: str | Path,
    image_set: str | Path,
    out: str | Path,
    workers: int = 4,
    frames_per_video: int | None = None,
    image_suffix: str = '.JPEG',
) -> ConversionReport:
    """Converts an image set of ImageNet VID.

    Boxes are kept as they are: ``bbox`` is ``[xmin, ymin, xmax - xmin, ymax - ymin]``; the
    inclusive pixel is the metric's business. Each annotation keeps ``occluded``, ``generated`` and
    ``track_id`` (the file's); ``instance_id`` is unique in the whole json. Each image keeps
    ``ilsvrc_id``, the image set's frame id, where it has one.

    Args:
        ann_dir: ``Annotations/VID``.
        image_set: A list as :func:`~semidff.converters.ilsvrc.image_set.read_video_image_set` reads
            it.
        out: The json file to write.
        workers: Processes that read XML.
        frames_per_video: Evenly spaced frames to take of each video; None for all.
        image_suffix: Suffix of the image files.

    Returns:
        Counts and what was left out.

    Raises:
        FileNotFoundError: The list is missing.
        ValueError: The list is empty or broken, or not a single annotation file can be read.
    """
    listed = read_video_image_set(image_set, ann_dir, frames_per_video)
    frames = _read_all([frame.path for frame in listed], ann_dir, workers)
    videos: dict[str, dict] = {}
    instances: dict[tuple, int] = {}
    writer = _Writer(str(out))
    for frame, xml in zip(listed, frames, strict=True):
        if isinstance(xml, str):
            writer.skip(f'{frame.path}.xml', xml)
            continue
        video = videos.setdefault(
            frame.video,
            {
                'id': len(videos) + 1,
                'name': frame.video,
                # Frames that are not listed are key frames of listed ones in supervised training.
                'frame_pattern': f'{frame.video}/%06d{image_suffix}',
            },
        )
        if frame.video_length is not None:
            video['length'] = frame.video_length
        image = {
            'video_id': video['id'],
            'frame_id': frame.frame_id,
            **_given(video_length=frame.video_length, ilsvrc_id=frame.ilsvrc_id),
        }
        tracks = [_instance(instances, video['id'], found) for found in xml.objects]
        writer.add(frame.path + image_suffix, xml, image, tracks)
    return writer.write(list(videos.values()), image_set, len(listed))


def convert_det(
    ann_dir: str | Path,
    image_set: str | Path,
    out: str | Path,
    workers: int = 4,
    image_suffix: str = '.JPEG',
) -> ConversionReport:
    """Converts an image set of ImageNet DET; keeps the objects of VID's 30 classes.

    Args:
        ann_dir: ``Annotations/DET``.
        image_set: List whose lines start with an image's path without suffix, as
            DET_train_30classes.
        out: The json file to write.
        workers: Processes that read XML.
        image_suffix: Suffix of the image files.

    Returns:
        Counts and what was left out.

    Raises:
        FileNotFoundError: The list is missing.
        ValueError: The list is empty, or not a single annotation file can be read.
    """
    paths = list(dict.fromkeys(line[0] for line in read_lines(image_set)))
    writer = _Writer(str(out))
    for path, xml in zip(paths, _read_all(paths, ann_dir, workers), strict=True):
        if isinstance(xml, str):
            writer.skip(f'{path}.xml', xml)
        else:
            writer.add(path + image_suffix, xml, {}, [None] * len(xml.objects))
    return writer.write([], image_set, len(paths))


class _Writer:
    """Collects images and annotations of a json."""

    def __init__(self, out: str) -> None:
        self.report = ConversionReport(out)
        self.images: list[dict] = []
        self.annotations: list[dict] = []

    def skip(self, path: str, reason: str) -> None:
        """Notes an annotation file that cannot be used."""
        self.report.broken.append((path, reason))

    def add(
        self, file_name: str, xml: XMLFrame, extra: dict, instances: Sequence[int | None]
    ) -> None:
        """Adds an image with its objects."""
        image_id = len(self.images) + 1
        size = {'width': xml.width, 'height': xml.height}
        self.images.append({'id': image_id, 'file_name': file_name, **size, **extra})
        for found, instance in zip(xml.objects, instances, strict=True):
            if found.wnid not in _CATEGORY:
                self.report.other_objects += 1
                continue
            xmin, ymin, xmax, ymax = found.box
            width, height = xmax - xmin, ymax - ymin
            self.annotations.append(
                {
                    'id': len(self.annotations) + 1,
                    'image_id': image_id,
                    'category_id': _CATEGORY[found.wnid],
                    'bbox': [xmin, ymin, width, height],
                    'area': width * height,
                    'iscrowd': 0,
                    'occluded': found.occluded,
                    'generated': found.generated,
                    **_given(
                        video_id=extra.get('video_id'),
                        instance_id=instance,
                        track_id=found.track_id,
                    ),
                }
            )

    def write(self, videos: list[dict], image_set: str | Path, listed: int) -> ConversionReport:
        """Writes the json."""
        broken = self.report.broken
        if not self.images:
            raise ValueError(
                f'none of the {listed} annotation files of {str(image_set)!r} can be read; first '
                f'{broken[0][0]}: '
                f'{broken[0][1]}. The paths of the list must start in the annotation folder.'
            )
        categories = [
            {'id': number, 'name': name, 'wnid': wnid}
            for number, (name, wnid) in enumerate(VID_WNIDS.items(), 1)
        ]
        write_json(
            {
                'info': {'image_set': Path(image_set).name, 'left_out': dict(broken)},
                'videos': videos,
                'images': self.images,
                'annotations': self.annotations,
                'categories': categories,
            },
            self.report.out,
        )
        self.report.videos = len(videos)
        self.report.images = len(self.images)
        self.report.boxes = len(self.annotations)
        return self.report


def _instance(instances: dict[tuple, int], video_id: int, found: XMLObject) -> int | None:
    """Number of an object's track in the whole json; None for an object without track."""
    if found.track_id is None:
        return None
    return instances.setdefault((video_id, found.track_id, found.wnid), len(instances) + 1)


def _given(**entries: int | None) -> dict[str, int]:
    """The entries that are known."""
    return {key: value for key, value in entries.items() if value is not None}


def _read_or_reason(path: str, ann_dir: str) -> XMLFrame | str:
    """An annotation file's content, or why it has none."""
    try:
        return read_xml(f'{ann_dir}/{path}.xml')
    except ValueError as error:
        return str(error)


def _ignore_interrupt() -> None:
    """Leaves Ctrl-C to the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_all(paths: list[str], ann_dir: str | Path, workers: int) -> list[XMLFrame | str]:
    """Content or error of each annotation file, in order, with a progress bar."""
    read = partial(_read_or_reason, ann_dir=str(ann_dir))
    bar, results = ProgressBar(len(paths)), []
    if workers <= 1:
        _collect(map(read, paths), results, bar)
    else:
        with multiprocessing.Pool(workers, _ignore_interrupt) as pool:
            _collect(pool.imap(read, paths, chunksize=_FILES_AT_ONCE), results, bar)
    bar.file.write('\n')
    return results


def _collect(source: Iterable, results: list, bar: ProgressBar) -> None:
    """Moves everything from ``source`` to ``results``; shows progress now and then."""
    source = iter(source)
    while chunk := list(islice(source, _FILES_AT_ONCE)):
        results += chunk
        bar.update(len(chunk))
