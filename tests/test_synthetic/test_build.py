"""The generated data set on disk: layout, determinism, what is kept and what is generated again."""

import hashlib
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from semidff.datasets import FlyingChairsDataset
from semidff.datasets.video_readers import open_any
from semidff.synthetic.build import build_dataset
from semidff.synthetic.presets import PRESETS

TINY = PRESETS['tiny']


@pytest.fixture(scope='module')
def data_set(tmp_path_factory):
    root = tmp_path_factory.mktemp('data_set')
    build_dataset(root, TINY, workers=2)
    return root


def _digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in root.rglob('*')
        if path.is_file()
    }


def test_number_of_processes_does_not_matter(data_set, tmp_path):
    build_dataset(tmp_path, TINY, workers=1)
    assert _digests(tmp_path) == _digests(data_set)


@pytest.mark.parametrize('split', ['val', 'dev'])
def test_labeled_videos(data_set, split):
    content = json.loads((data_set / f'{split}.json').read_text())
    assert [v['name'] for v in content['videos']] == ['000', '001']
    assert len(content['images']) == 2 * TINY.eval_length
    for image in content['images']:
        picture = cv2.imread(str(data_set / split / image['file_name']))
        assert picture.shape[:2] == (image['height'], image['width']) == TINY.size
        video = content['videos'][image['video_id'] - 1]
        assert image['file_name'] == f'{video["name"]}/{image["frame_id"]:06d}.jpg'
    once = {(a['image_id'], a['instance_id']) for a in content['annotations']}
    assert len(once) == len(content['annotations']) > 20
    video_of = {image['id']: image['video_id'] for image in content['images']}
    kinds = {
        (a['instance_id'], video_of[a['image_id']], a['category_id'])
        for a in content['annotations']
    }
    assert len(kinds) == len({a['instance_id'] for a in content['annotations']})
    for a in content['annotations']:
        x, y, w, h = a['bbox']
        assert x >= 0 and y >= 0 and w > 0 and h > 0
        assert x + w <= TINY.width + 0.02 and y + h <= TINY.height + 0.02


def test_pairs_and_videos_load(data_set):
    pairs = FlyingChairsDataset(
        ann_file='flow/split.txt', data_root=str(data_set), data_prefix={'img': 'flow'}
    )
    assert len(pairs) == TINY.flow and pairs[3]['inputs'].shape == (2, 3, *TINY.size)
    lines = (data_set / 'videos.txt').read_text().splitlines()
    assert len(lines) == TINY.videos
    for line in lines:
        frames = np.stack([frame.image for frame in open_any(str(data_set / line))])
        assert frames.shape == (TINY.video_length, *TINY.size, 3)
        assert frames.std(axis=(1, 2, 3)).min() > 10


def test_complete_data_set_is_left_alone(data_set, capsys):
    before = {path: path.stat().st_mtime_ns for path in data_set.rglob('*')}
    build_dataset(data_set, TINY)
    assert 'there already' in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in data_set.rglob('*')} == before


def test_label_maps(data_set, tmp_path):
    """They are added to a complete data set; each box contains pixels of its class."""
    root = tmp_path / 'data'
    shutil.copytree(data_set, root)
    before = _digests(root)
    spec = replace(TINY, label_maps=1)
    build_dataset(root, spec, workers=2)
    after = _digests(root)
    assert all(after[name] == digest for name, digest in before.items() if name != 'world.json')
    for split in ('stills', 'train', 'val', 'dev'):
        boxes = json.loads((root / f'{split}.json').read_text())
        content = json.loads((root / f'{split}_labels.json').read_text())
        assert content['images'] == boxes['images'] and content['annotations'] == []
        names = [category['name'] for category in content['categories']]
        assert names == ['background', *(c['name'] for c in boxes['categories'])]
        for image in boxes['images']:
            path = root / f'{split}_labels' / image['file_name'].replace('.jpg', '.png')
            assert path.exists() == image.get('is_labeled', True)
            if not path.exists():
                continue
            labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert labels.shape == TINY.size
            for box in (a for a in boxes['annotations'] if a['image_id'] == image['id']):
                x, y, w, h = (round(value) for value in box['bbox'])
                inside = labels[y : y + h, x : x + w] == box['category_id']
                assert inside.sum() > 0.05 * w * h
            assert set(np.unique(labels)) <= set(range(5))
    assert build_dataset(root, spec) == json.loads((root / 'world.json').read_text())


def _small(tmp_path, **changes):
    spec = replace(TINY, stills=3, videos=1, val=1, dev=0, flow=2, eval_length=3, video_length=3)
    spec = replace(spec, **changes)
    return tmp_path / 'data', spec


def _built(output):
    """Parts that were generated."""
    return [line.split(':')[0] for line in output.splitlines()]


def test_missing_parts_and_changed_data_sets_are_made_again(tmp_path, capsys):
    root, spec = _small(tmp_path)
    build_dataset(root, spec)
    whole = _digests(root)
    shutil.rmtree(root / 'flow')
    (root / 'val.json').unlink()
    capsys.readouterr()
    build_dataset(root, spec)
    assert _built(capsys.readouterr().out) == ['val', 'flow']
    assert _digests(root) == whole
    build_dataset(root, replace(spec, video_length=4))
    changed = {name for name, digest in _digests(root).items() if whole[name] != digest}
    assert changed == {'videos/0000.mp4', 'world.json'}


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / 'val').mkdir()
    (tmp_path / 'val' / 'photo.jpg').write_bytes(b'mine')
    with pytest.raises(FileExistsError, match='not a folder of a generated data set'):
        build_dataset(tmp_path, TINY)
    assert (tmp_path / 'val' / 'photo.jpg').read_bytes() == b'mine'
