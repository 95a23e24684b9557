"""Former names in configs and annotation files: they work, with one deprecation warning each."""

import json

import pytest
from mmdet.registry import DATASETS, TRANSFORMS

from semidff.datasets import CocoVIDDataset, LabeledPairDataset, RandomColorFlowPair
from semidff.utils import deprecation


@pytest.fixture
def deprecations(monkeypatch):
    """Results of calls, and the deprecation lines that a new process shows."""
    deprecation.warn_renamed.cache_clear()

    texts = []
    monkeypatch.setattr(deprecation, 'log_warning', lambda text: texts.append(text))

    def collect(*calls):
        return [call() for call in calls], texts

    return collect


@pytest.fixture
def ann_file(tmp_path):
    size = {'width': 100, 'height': 80}
    names = [{'id': i + 1, 'file_name': f'{i}.jpg', **size} for i in range(3)]
    images = [{**image, 'video_id': 1, 'frame_id': i} for i, image in enumerate(names)]
    images[0]['is_labelled'], images[2]['is_labelled'] = False, True
    boxes = [{'id': 1, 'image_id': 3, 'category_id': 1, 'bbox': [1, 2, 30, 40]}]
    content = {'videos': [{'id': 1, 'name': 'a'}], 'images': images, 'annotations': boxes}
    content['categories'] = [{'id': 1, 'name': 'thing'}]
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    return str(tmp_path / 'ann.json')


def test_former_spelling_of_the_labels_of_sparse_videos(ann_file, deprecations):
    (dataset, _), texts = deprecations(*[lambda: CocoVIDDataset(ann_file=ann_file)] * 2)
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == [2, 3]
    assert texts == [
        "json key 'is_labelled' is deprecated and will be removed in the next version: use 'is_labeled'"
    ]


def test_former_name_of_labeled_pairs(ann_file, deprecations):
    config = dict(
        type='LabelledPairDataset',
        dataset=dict(type='CocoVIDDataset', ann_file=ann_file),
        interval=dict(type='UniformInterval', low=0, high=1),
        pipeline=[],
    )
    results, texts = deprecations(*[lambda: DATASETS.build(config)] * 2)
    assert all(type(result) is LabeledPairDataset for result in results)
    assert (
        texts[0]
        == "type 'LabelledPairDataset' is deprecated and will be removed in the next version: use 'LabeledPairDataset'"
    )
    assert sum('LabelledPairDataset' in text for text in texts) == 1


def test_former_name_of_color_changes(deprecations):
    config = dict(type='RandomColourFlowPair', colour=(0.25, 4), noise=0)
    results, texts = deprecations(*[lambda: TRANSFORMS.build(config)] * 2)
    assert all(type(result) is RandomColorFlowPair for result in results)
    assert results[0].color == (0.25, 4) and results[0].noise == 0
    assert texts == [
        "type 'RandomColourFlowPair' is deprecated and will be removed in the next version: use 'RandomColorFlowPair'"
    ]
