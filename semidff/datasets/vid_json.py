"""Reading, checking and ordering of COCO-VID json files.

COCO-VID is COCO json with ``videos: [{id, name, ...}]``; each image has ``video_id`` and
``frame_id`` (0-based in the video), annotations have ``instance_id``. In plain COCO json every
image is a video of one frame. Optional keys are ``is_labeled`` of an image (default true) and
``frame_pattern`` of a video, see :class:`~semidff.datasets.CocoVIDDataset`.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from mmengine.fileio import get_local_path

from .vid_schema import SCHEMA, check_vid_json


def load_vid_json(ann_file: str, backend_args: dict | None = None) -> dict:
    """Read a COCO or COCO-VID json file.

    Args:
        ann_file: Path or URL.

    Returns:
        Content of the file; ``images``, ``annotations``, ``categories`` and ``videos`` are lists. Keys of their
        entries whose value is null are left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not json, or not valid COCO-VID, see :mod:`semidff.datasets.vid_schema`.
    """
    if '://' not in str(ann_file) and not Path(ann_file).is_file():
        raise FileNotFoundError(
            f'annotation file {str(ann_file)!r} does not exist; check ann_file and data_root of '
            'the config'
        )
    with get_local_path(ann_file, backend_args=backend_args) as path:
        try:
            content = json.loads(Path(path).read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{ann_file} is not a json file: {error}') from error
    check_vid_json(content, str(ann_file))
    for name in SCHEMA:
        content[name] = [
            {key: value for key, value in entry.items() if value is not None}
            for entry in content[name]
        ]
    return content


def ordered_frames(content: dict, source: str) -> list[dict]:
    """Return the images of a json, sorted by video and frame.

    Returns:
        One dict per image with the image's entries and ``video_id``, ``frame_id``, ``video_name``
        and ``video_length`` in frames.

    Raises:
        ValueError: If only some images belong to videos, an image has no ``frame_id``, or two
            images are the same frame.
    """
    images = content['images']
    without = [image for image in images if image.get('video_id') is None]
    if 0 < len(without) < len(images):
        raise ValueError(
            f'{source}: {len(without)} of {len(images)} images have no video_id, first '
            f'{without[0].get("file_name")!r}; give every image video_id and frame_id'
        )
    if without:
        ordered = sorted(images, key=lambda image: image['id'])
        one = dict(frame_id=0, video_length=1)
        return [dict(i, video_id=i['id'], video_name=i['file_name'], **one) for i in ordered]
    for image in images:
        if image.get('frame_id') is None:
            raise ValueError(
                f'{source}: image {image["file_name"]!r} has a video_id but no frame_id; '
                'number the frames of each video from 0'
            )
    frames = sorted(images, key=lambda image: (image['video_id'], image['frame_id']))
    for before, after in pairwise(frames):
        if (before['video_id'], before['frame_id']) == (after['video_id'], after['frame_id']):
            raise ValueError(
                f'{source}: {before.get("file_name")!r} and {after.get("file_name")!r} are both '
                f'frame {after["frame_id"]} of video {after["video_id"]}'
            )
    videos = {video['id']: video for video in content['videos']}
    last = {frame['video_id']: frame['frame_id'] for frame in frames}
    for index, frame in enumerate(frames):
        video = videos.get(frame['video_id'], {})
        length = video.get('length') or frame.get('video_length') or last[frame['video_id']] + 1
        name = video.get('name', str(frame['video_id']))
        frames[index] = dict(frame, video_name=name, video_length=length)
    return frames


def frame_patterns(content: dict) -> dict[int, str]:
    """Return ``frame_pattern`` by the id of each video that has one."""
    return {v['id']: v['frame_pattern'] for v in content['videos'] if v.get('frame_pattern')}


def match_classes(
    content: dict, classes: Sequence[str] | None, source: str
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Map the categories of a json to labels.

    Args:
        classes: Classes of the config; None takes those of the json.

    Returns:
        The classes, and the label (index of the class) by category id. Categories of other classes
        have no label.

    Raises:
        ValueError: If a class is missing in the json, or the classes have another order there
            (mmdet's datasets would mix up the labels).
    """
    names = [category['name'] for category in content['categories']]
    if classes is None:
        classes = names
    shared = [name for name in names if name in classes]
    if shared != list(classes):
        wrong = 'other classes' if set(shared) != set(classes) else 'the classes in another order'
        raise ValueError(
            f"{source} has {wrong} than the config's metainfo.\n"
            f'  json:     {names}\n  metainfo: {list(classes)}\n'
            "Set metainfo=dict(classes=...) of the dataset to names of the json, in the json's "
            'order, and num_classes of the model to their number.'
        )
    labels = {name: label for label, name in enumerate(classes)}
    ids = {c['id']: labels[c['name']] for c in content['categories'] if c['name'] in labels}
    return tuple(classes), ids
