"""Conversion of ImageNet DET and VID from the layout of ILSVRC2015 to COCO-VID json."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from semidff.datasets.imagenet import VID_WNIDS
from semidff.utils.arguments import ToolParser, run_tool
from semidff.utils.atomic_write import write_json
from semidff.utils.progress import track
from semidff.utils.tool_files import InputFile, OutputFile
from semidff.utils.worker_pool import mapped

from .image_set import read_lines, read_video_image_set
from .xml_file import XMLFrame, read_xml

_FILES_AT_ONCE = 64
_CATEGORY = {wnid: number for number, wnid in enumerate(VID_WNIDS.values(), 1)}


@dataclass
class ConversionReport:
    """Counts of a conversion.

    Attributes:
        other_objects: Number of objects of classes other than the 30.
        broken: Path and error of each annotation file that could not be read; its image is left out.
    """

    out: str
    videos: int = 0
    images: int = 0
    boxes: int = 0
    other_objects: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
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
    """Convert an image set of ImageNet VID.

    ``bbox`` is ``[xmin, ymin, xmax - xmin, ymax - ymin]`` with the file's coordinates; only the
    metric adds the inclusive last pixel. Each annotation keeps ``occluded``, ``generated`` and the
    file's ``track_id``; ``instance_id`` is unique in the json. Each image keeps ``ilsvrc_id``, the
    image set's frame id, if it has one.

    Args:
        ann_dir: The folder ``Annotations/VID``.
        image_set: A list, see :func:`~semidff.converters.ilsvrc.image_set.read_video_image_set`.
        frames_per_video: Number of evenly spaced frames to take of each video; None for all.

    Raises:
        FileNotFoundError: If the list is missing.
        ValueError: If the list is empty or broken, or not a single annotation file can be read.
    """
    listed = read_video_image_set(image_set, ann_dir, frames_per_video)
    frames = _read_all([frame.path for frame in listed], ann_dir, workers)
    videos: dict[str, dict] = {}
    instances: dict[tuple, int] = {}
    writer = _Writer(out)
    for frame, xml in zip(listed, frames, strict=True):
        if isinstance(xml, str):
            writer.report.broken.append((f'{frame.path}.xml', xml))
            continue
        video = videos.setdefault(
            frame.video,
            {
                'id': len(videos) + 1,
                'name': frame.video,
                # Supervised training reads unlisted frames as key frames of listed ones.
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
        keys = [(video['id'], found.track_id, found.wnid) for found in xml.objects]
        tracks = [
            None if key[1] is None else instances.setdefault(key, len(instances) + 1)
            for key in keys
        ]
        writer.add(frame.path + image_suffix, xml, image, tracks)
    return writer.write(list(videos.values()), image_set, len(listed))


def convert_det(
    ann_dir: str | Path,
    image_set: str | Path,
    out: str | Path,
    workers: int = 4,
    image_suffix: str = '.JPEG',
) -> ConversionReport:
    """Convert an image set of ImageNet DET; keep the objects of VID's 30 classes.

    Args:
        ann_dir: The folder ``Annotations/DET``.
        image_set: List whose lines start with an image's path without suffix, such as
            DET_train_30classes.

    Raises:
        FileNotFoundError: If the list is missing.
        ValueError: If the list is empty, or not a single annotation file can be read.
    """
    paths = list(dict.fromkeys(line[0] for line in read_lines(image_set)))
    writer = _Writer(out)
    for path, xml in zip(paths, _read_all(paths, ann_dir, workers), strict=True):
        if isinstance(xml, str):
            writer.report.broken.append((f'{path}.xml', xml))
        else:
            writer.add(path + image_suffix, xml, {}, [None] * len(xml.objects))
    return writer.write([], image_set, len(paths))


class _Writer:
    """Collector of the images and annotations of a json file."""

    def __init__(self, out: str | Path) -> None:
        self.report = ConversionReport(str(out))
        self.images: list[dict] = []
        self.annotations: list[dict] = []

    def add(
        self, file_name: str, xml: XMLFrame, extra: dict, instances: Sequence[int | None]
    ) -> None:
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
        broken = self.report.broken
        if not self.images:
            raise ValueError(
                f'none of the {listed} annotation files of {str(image_set)!r} can be read; first '
                f'{broken[0][0]}: {broken[0][1]}. The paths in the list must be relative to the '
                'annotation folder.'
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


def _given(**entries: int | None) -> dict[str, int]:
    return {key: value for key, value in entries.items() if value is not None}


def _read_or_reason(path: str, ann_dir: str) -> XMLFrame | str:
    try:
        return read_xml(f'{ann_dir}/{path}.xml')
    except ValueError as error:
        return str(error)


def argument_parser(description: str, data_set: str, image_sets: str) -> ToolParser:
    """Return a parser of the options that the tools for VID and DET share."""
    parser = ToolParser(description=description)
    parser.add_argument(
        '--ann-dir',
        type=InputFile,
        required=True,
        help=f'folder Annotations/{data_set} of ILSVRC2015',
    )
    parser.add_argument('--image-set', type=InputFile, required=True, help=f'list of {image_sets}')
    parser.add_argument('--out', type=OutputFile, required=True, help='json file to write')
    parser.add_argument('--workers', type=int, default=4, help='processes that read XML (4)')
    parser.add_argument('--image-suffix', default='.JPEG', help='suffix of the images (.JPEG)')
    return parser


def run_converter(convert: Callable[..., ConversionReport], args: argparse.Namespace) -> None:
    """Convert and print the report."""
    run_tool(lambda args: print(convert(**vars(args))), args)


def _read_all(paths: list[str], ann_dir: str | Path, workers: int) -> list[XMLFrame | str]:
    read = partial(_read_or_reason, ann_dir=str(ann_dir))
    with mapped(read, paths, workers, _FILES_AT_ONCE) as contents:
        return list(track(contents, 'annotations', len(paths), 'files'))
