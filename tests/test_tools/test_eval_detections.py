"""tools/eval_detections.py, against the original evaluator's figures."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from semidff.converters.ilsvrc import convert_vid
from semidff.evaluation import evaluate_detections_file
from tests.shared_data import shared

TOOL = Path(__file__).resolve().parents[2] / 'tools/eval_detections.py'
FILES = ('--ann-file', 'val.json', '--detections', 'd.txt', '--out', 'r.json')


@pytest.fixture(scope='module', params=['vid_eval', 'vid_eval_edge'])
def golden(request, tmp_path_factory):
    """Folder, converted json and the original's figures."""
    folder = shared(f'golden/{request.param}')
    ann_file = tmp_path_factory.mktemp(request.param) / 'val.json'
    image_set = folder / 'ImageSets/VID_val_videos.txt'
    convert_vid(folder / 'Annotations/VID', image_set, ann_file, workers=1)
    return folder, ann_file, json.loads((folder / 'golden_ap.json').read_text())


@pytest.fixture
def run_tool(monkeypatch, capsys):
    """Runs the tool in a folder; exit status, output and error text."""

    def run(folder, *options):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, 'argv', ['eval_detections.py', *FILES, *options])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as end:
            return (1 if isinstance(end.code, str) else end.code), capsys.readouterr().out, end.code
        return 0, capsys.readouterr().out, ''

    return run


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


def small_json(folder):
    """Two plain images with a dog in each; frames are 1 and 2."""
    images = [{'id': i, 'file_name': f'{i}.jpg', 'width': 99, 'height': 99} for i in (5, 6)]
    annotations = [
        {'id': i, 'image_id': i, 'category_id': 2, 'bbox': [0, 0, 50, 50]} for i in (5, 6)
    ]
    categories = [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}]
    data = {'images': images, 'annotations': annotations, 'categories': categories}
    (folder / 'val.json').write_text(json.dumps(data))


def test_own_json_without_frame_ids(tmp_path, run_tool):
    small_json(tmp_path)
    (tmp_path / 'd.txt').write_text('2 2 0.9 0 0 50 50\n1 1 0.8 0 0 50 50\n')
    status, printed, _ = run_tool(tmp_path)
    assert status == 0 and '2 detections, 0 of them' in printed
    result = json.loads((tmp_path / 'r.json').read_text())
    assert result['AP'] == {'cat': None, 'dog': 0.5} and result['mAP'] is None
    assert result['mAP_classes_with_ground_truth'] == 0.5
    assert run_tool(tmp_path, '--overwrite', '--mean', 'present')[0] == 0
    assert json.loads((tmp_path / 'r.json').read_text())['mAP'] == 0.5


def test_broken_line_stops_and_writes_nothing(tmp_path, run_tool):
    small_json(tmp_path)
    (tmp_path / 'd.txt').write_text('1 2 0.9 0 0 50 50\n1 2 0.9 0 0 fifty 50\n')
    status, _, error = run_tool(tmp_path)
    assert status == 1 and 'error: d.txt, line 2' in error
    assert not (tmp_path / 'r.json').exists()


def test_json_of_detections_counts_from_a_score(tmp_path, run_tool):
    small_json(tmp_path)
    reference = json.loads((tmp_path / 'val.json').read_text())
    for box, score in zip(reference['annotations'], (0.7, 0.4), strict=True):
        box['score'] = score
    (tmp_path / 'val.json').write_text(json.dumps(reference))
    (tmp_path / 'd.txt').write_text('1 2 0.9 0 0 50 50\n')
    for options, expected in (((), 1), (('--min-score', '0.3'), 0.5)):
        assert run_tool(tmp_path, '--overwrite', *options)[0] == 0
        assert json.loads((tmp_path / 'r.json').read_text())['AP']['dog'] == expected
    status, _, error = run_tool(tmp_path, '--overwrite', '--min-score', '0.8')
    assert status == 1 and 'val.json: no box of these classes has a score of at least 0.8' in error


def test_coco_ap_too(tmp_path, run_tool):
    small_json(tmp_path)
    (tmp_path / 'd.txt').write_text('1 2 0.9 0 0 36 50\n2 2 0.8 0 0 36 50\n')
    status, printed, _ = run_tool(tmp_path, '--coco')
    assert status == 0 and "COCO's AP 50.00, AP_50 100.00, AP_75 0.00" in printed
    result = json.loads((tmp_path / 'r.json').read_text())
    assert result['coco_AP'] == pytest.approx(0.5) and result['AP']['dog'] == 1
