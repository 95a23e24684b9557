"""The tools in tools/analysis."""

import json

import cv2
import pytest

CPU = ('--device', 'cpu')
SPEED = (*CPU, '--rounds', 1, '--out', 'speed.json', '--overwrite')
SIZE = ('--size', 64, 96)


def test_complexity(run, fails, project):
    options = ('--key-intervals', 3, 4, '--json', 'o.json')
    printed = run('analysis/complexity.py', 'config.py', *SIZE, *options)
    assert 'GFLOPs' in printed and 'multiply-adds' in printed
    figures = json.loads((project / 'o.json').read_text())
    assert (figures['height'], figures['width']) == (64, 96)
    assert figures['parts']['flow']['flops'] > 0
    speedups = {str(n): n / (1 + (n - 1) * figures['ratio']) for n in (3, 4)}
    assert figures['speedups'] == pytest.approx(speedups)
    assert 'no temporal module' in fails('analysis/complexity.py', 'alone.py', *SIZE)


def test_speed_of_methods_and_options(run, project):
    options = ('--methods', 'copy', 'propagate', '--precision', 'fp32', 'bf16', '--channels-last')
    inputs = ('config.py', 'two.pth', '--video', 'in.mp4', '--key-interval', 2)
    printed = run('analysis/speed.py', *inputs, *SPEED, *options)
    assert 'r (DFF Eq. 5)' in printed and 'bf16, channels-last: propagate' in printed
    figures = json.loads((project / 'speed.json').read_text())
    assert (figures['weights'], figures['video'], figures['rounds']) == ('two.pth', 'in.mp4', 1)
    assert list(figures['parts']) == ['fp32, channels-last', 'bf16, channels-last']
    methods = ('frame', 'copy', 'propagate')
    assert list(figures['rows']) == [f'{one}: {m}' for one in figures['parts'] for m in methods]
    for name, row in figures['rows'].items():
        assert row['fps'] > row['end_to_end']['fps'] > 0 and row['detections'] > 0
        assert (row['speed_up'] == 1) == ('frame' in name) == ('non_key' not in row)


def test_speed_on_a_synthetic_video(run, project):
    run('analysis/speed.py', 'config.py', '--shape', 64, 128, '--key-interval', 2, *SPEED)
    figures = json.loads((project / 'speed.json').read_text())
    assert figures['shape'] == [64, 128] and figures['weights'] == 'random'
    assert figures['rows']['fp32: frame']['detections'] > 0


def test_speed_of_rows(run, project):
    rows = ('dense=config.py,two.pth,frame,1', 'ours=config.py,two.pth,propagate,2')
    options = ('--cfg-options', 'model.detector.test_cfg.score_thr=0')
    printed = run('analysis/speed.py', '--row', rows[0], '--row', rows[1], *SPEED, *options)
    report = json.loads((project / 'speed.json').read_text())
    assert report['reference'] == 'dense' and list(report['rows']) == ['dense', 'ours']
    assert f'{report["rows"]["ours"]["speed_up"]:.2f}' in printed


def show(*arguments: object) -> tuple:
    return ('analysis/show_propagation.py', *arguments, *CPU, '--overwrite')


def test_show_propagation(run, fails, project):
    inputs = ('config.py', 'two.pth', 'in.mp4', '--key', 5, '--current', 8, 2)
    printed = run(*show(*inputs, '--out', 'p.png', '--level', 1))
    height, width = cv2.imread(str(project / 'p.png')).shape[:2]
    assert width > 1500 and height > 1000
    lines = printed.splitlines()[-3:]
    assert lines[0].startswith('key frame 5, current frame 8 (+3): motion ')
    assert lines[1].startswith('key frame 5, current frame 2 (-3): motion ')
    assert lines[2] == 'Written: p.png'
    message = fails(*show('alone.py', *inputs[1:], '--out', 'no.png'))
    assert 'needs a temporal module' in message
