"""tools/eval_detections.py, against the original evaluator's figures."""

import json

import pytest

from semidff.converters.ilsvrc import convert_vid
from semidff.evaluation import evaluate_detections_file
from tests.shared_data import shared


@pytest.fixture(scope='module', params=['vid_eval', 'vid_eval_edge'])
def golden(request, tmp_path_factory):
    """Folder, converted json and the original's figures."""
    folder = shared(f'golden/{request.param}')
    ann_file = tmp_path_factory.mktemp(request.param) / 'val.json'
    image_set = folder / 'ImageSets/VID_val_videos.txt'
    convert_vid(folder / 'Annotations/VID', image_set, ann_file, workers=1)
    return folder, ann_file, json.loads((folder / 'golden_ap.json').read_text())


def close(values, expected):
    return all(
        a is e if a is None or e is None else abs(a - e) < 1e-9
        for a, e in zip(values, expected, strict=True)
    )


def test_equals_the_original(golden, tmp_path):
    folder, ann_file, expected = golden
    done = evaluate_detections_file(ann_file, folder / 'detections.txt', tmp_path / 'r.json')
    result = json.loads((tmp_path / 'r.json').read_text())
    assert result == done.summary
    assert list(result['AP']) == expected['classes']
    ap = list(result['AP'].values())
    assert close(ap, expected['ap_file_order_stable_sort'])
    assert close([result['mAP']], [expected['mean_ap_file_order_stable_sort']])
    ties = [c - 1 for c in expected['tie_order_sensitive_classes']]
    untied = [i for i in range(30) if i not in ties]
    assert close([ap[i] for i in untied], [expected['ap'][i] for i in untied])
    for i in ties:
        low = expected['ap_min_over_24_random_tie_orders'][i]
        high = expected['ap_max_over_24_random_tie_orders'][i]
        assert low - 0.05 < ap[i] < high + 0.05


def test_detections_outside_the_image_set_do_not_count(golden, tmp_path):
    folder, ann_file, _ = golden
    text = (folder / 'detections.txt').read_text()
    expected = evaluate_detections_file(ann_file, folder / 'detections.txt', tmp_path / 'a.json')
    (tmp_path / 'more.txt').write_text('0 1 0.99 1 2 3 4\n' + text + '100000 2 0.99 1 2 3 4\n')
    done = evaluate_detections_file(ann_file, tmp_path / 'more.txt', tmp_path / 'b.json')
    assert done.summary == expected.summary and done.num_outside == expected.num_outside + 2


@pytest.fixture
def small(tmp_path):
    """Two plain images with a dog in each, frames 1 and 2; the arguments of the tool."""
    images = [{'id': i, 'file_name': f'{i}.jpg', 'width': 99, 'height': 99} for i in (5, 6)]
    boxes = [{'id': i, 'image_id': i, 'category_id': 2, 'bbox': [0, 0, 50, 50]} for i in (5, 6)]
    categories = [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}]
    data = {'images': images, 'annotations': boxes, 'categories': categories}
    (tmp_path / 'val.json').write_text(json.dumps(data))
    files = zip(
        ('--ann-file', '--detections', '--out'), ('val.json', 'd.txt', 'r.json'), strict=True
    )
    options = [part for option, name in files for part in (option, tmp_path / name)]
    return 'eval_detections.py', *options, '--overwrite'


def test_own_json_without_frame_ids(small, tmp_path, run):
    (tmp_path / 'd.txt').write_text('2 2 0.9 0 0 50 50\n1 1 0.8 0 0 50 50\n')
    assert '2 detections, 0 of them' in run(*small)
    result = json.loads((tmp_path / 'r.json').read_text())
    assert result['AP'] == {'cat': None, 'dog': 0.5} and result['mAP'] is None
    assert result['mAP_classes_with_ground_truth'] == 0.5
    run(*small, '--mean', 'present')
    assert json.loads((tmp_path / 'r.json').read_text())['mAP'] == 0.5


def test_classes_of_the_detector(small, tmp_path, run):
    (tmp_path / 'd.txt').write_text('1 1 0.9 0 0 50 50\n2 3 0.8 0 0 50 50\n')
    run(*small, '--classes', 'dog', 'cat', 'horse')
    assert json.loads((tmp_path / 'r.json').read_text())['AP'] == {'dog': 0.5, 'cat': 0}


def test_json_of_detections_counts_from_a_score(small, tmp_path, run, fails):
    reference = json.loads((tmp_path / 'val.json').read_text())
    for box, score in zip(reference['annotations'], (0.7, 0.4), strict=True):
        box['score'] = score
    (tmp_path / 'val.json').write_text(json.dumps(reference))
    (tmp_path / 'd.txt').write_text('1 2 0.9 0 0 50 50\n')
    for options, expected in (((), 1), (('--min-score', '0.3'), 0.5)):
        run(*small, *options)
        assert json.loads((tmp_path / 'r.json').read_text())['AP']['dog'] == expected
    message = fails(*small, '--min-score', '0.8')
    assert 'val.json: no box of these classes has a score of at least 0.8' in message


def test_coco_ap_too(small, tmp_path, run):
    (tmp_path / 'd.txt').write_text('1 2 0.9 0 0 36 50\n2 2 0.8 0 0 36 50\n')
    assert "COCO's AP 50.00, AP_50 100.00, AP_75 0.00" in run(*small, '--coco')
    result = json.loads((tmp_path / 'r.json').read_text())
    assert result['coco_AP'] == pytest.approx(0.5) and result['AP']['dog'] == 1
