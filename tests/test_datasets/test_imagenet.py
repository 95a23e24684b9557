"""ImageNet's datasets."""

import json

import pytest

from semidff.datasets.imagenet import VID_CLASSES, VID_WNIDS, ImageNetDETDataset, ImageNetVIDDataset
from tests.shared_data import shared


def test_classes_in_the_evaluations_order():
    golden = json.loads((shared('golden/vid_eval') / 'golden_ap.json').read_text())
    assert list(VID_CLASSES) == golden['classes']


def test_wnids():
    assert len(set(VID_WNIDS.values())) == 30
    assert VID_WNIDS['airplane'] == 'n02691156' and VID_WNIDS['zebra'] == 'n02391049'
    assert ImageNetVIDDataset.METAINFO['wnids'][7] == VID_WNIDS['cattle']


@pytest.mark.parametrize('dataset', [ImageNetVIDDataset, ImageNetDETDataset])
def test_other_classes_are_an_error(dataset, tmp_path):
    image = {'id': 1, 'file_name': 'a.jpg', 'width': 10, 'height': 10}
    data = {'images': [image], 'annotations': [], 'categories': [{'id': 1, 'name': 'zebra'}]}
    path = tmp_path / 'zebra.json'
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"(?s)other classes.*\['zebra'\].*'airplane'"):
        dataset(ann_file=str(path))
