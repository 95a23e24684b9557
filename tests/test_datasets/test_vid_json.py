"""Reading of COCO-VID json."""

import json

import pytest

from semidff.datasets.coco_vid import CocoVIDDataset
from semidff.datasets.vid_json import load_vid_json
from semidff.evaluation.vid_evaluator import VIDEvaluator

REQUIRED = dict(
    categories=[dict(id=1, name='cat')],
    videos=[dict(id=1)],
    images=[dict(id=n, file_name=f'{n}.jpg', width=64, height=48) for n in (1, 2)],
    annotations=[dict(image_id=1, category_id=1, bbox=[1, 2, 30, 40])],
)
NULL = dict(
    videos=dict(name=None, length=None, frame_pattern=None),
    images=dict(
        video_id=None, frame_id=None, video_length=None, ilsvrc_id=None, is_labeled=None
    ),
    annotations=dict(id=None, area=None, iscrowd=None, score=None, instance_id=None, note=None),
)  # fmt: skip


@pytest.fixture(params=['image', 'video'])
def files(request, tmp_path):
    """The same content without and with optional keys that are null."""
    content = json.loads(json.dumps(REQUIRED))
    if request.param == 'video':
        for frame, image in enumerate(content['images']):
            image |= dict(video_id=1, frame_id=frame)
    (tmp_path / 'short.json').write_text(json.dumps(content))
    for name, keys in NULL.items():
        content[name] = [keys | entry for entry in content[name]]
    (tmp_path / 'null.json').write_text(json.dumps(content))
    return str(tmp_path / 'short.json'), str(tmp_path / 'null.json')


def test_null_is_the_same_as_nothing(files):
    short, null = map(load_vid_json, files)
    assert short == null
    short, null = (VIDEvaluator(file) for file in files)
    assert short.frames == null.frames and null.labeled.all()
    assert len(null.truth.boxes) == len(short.truth.boxes) == 1
    short, null = (CocoVIDDataset(ann_file=file) for file in files)
    assert short[0]['instances'] == null[0]['instances'] and len(null[0]['instances']) == 1
