"""ImageNet's datasets."""

import json

from semidff.datasets.imagenet import VID_CLASSES, VID_WNIDS, ImageNetVIDDataset
from tests.shared_data import shared


def test_classes_in_the_evaluations_order():
    golden = json.loads((shared('golden/vid_eval') / 'golden_ap.json').read_text())
    assert list(VID_CLASSES) == golden['classes']


def test_wnids():
    assert len(set(VID_WNIDS.values())) == 30
    assert VID_WNIDS['airplane'] == 'n02691156' and VID_WNIDS['zebra'] == 'n02391049'
    assert ImageNetVIDDataset.METAINFO['wnids'][7] == VID_WNIDS['cattle']
