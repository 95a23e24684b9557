"""Table 1 by hand."""

import json
import math

import pytest

from semidff.points.experiment_tables import (
    BUSY,
    FEWER,
    Cell,
    Row,
    blocks,
    build_lines,
    format_block,
    make_tables,
)

FRAME, COPY = Row('frame', 'frame', 1), Row('copy', 'copy', 10)
TWO_STEP = Row('two-step', 'propagate', 10)


def measure(mean_ap, fps=None, speed_up=None):
    metrics = dict.fromkeys(('vid/mAP', 'vid/mAP_slow', 'vid/mAP_medium'), mean_ap)
    return metrics | {'vid/mAP_fast': math.nan, 'fps': fps, 'speed_up': speed_up}


MEASURED = {
    FRAME: {0: measure(0.9, 5.0, 1.0), 1: measure(0.8, 4.0, 1.0)},
    COPY: {0: measure(0.4, 40.0, 8.0), 1: measure(0.4, 40.0, 10.0)},
    TWO_STEP: {0: measure(0.85, 20.0, 4.0), 1: measure(0.7, 20.0, 5.0)},
}


def test_means_and_deviations_over_seeds_and_comparisons_within_a_seed_group_and_interval():
    other = {row._replace(group='b'): seeds for row, seeds in MEASURED.items()}
    frame = {FRAME._replace(group='b'): {0: measure(1.0, 5.0, 1.0)}}
    longer = {TWO_STEP._replace(key_interval=20): {0: measure(0.6, 25.0, 5.0)}}
    lines = build_lines({**MEASURED, **other, **frame, **longer})
    assert lines[FRAME]['mAP'].mean == pytest.approx(0.85)
    # sample deviation of two values: |a - b| / sqrt(2)
    assert lines[FRAME]['mAP'].sd == pytest.approx(0.1 / 2**0.5)
    cells = lines[TWO_STEP]
    # seed 0: (0.85 - 0.4) / (0.9 - 0.4) = 0.9; seed 1: (0.7 - 0.4) / (0.8 - 0.4) = 0.75
    assert cells['gap recovery'].values == pytest.approx((0.9, 0.75))
    assert cells['gap recovery'].mean == pytest.approx(0.825)
    assert cells['speed-up'].values == pytest.approx((4.0, 5.0))
    assert lines[COPY]['gap recovery'].mean == pytest.approx(0.0)
    assert lines[FRAME]['gap recovery'].mean is None
    assert lines[COPY]['fast'] == Cell(None, None, (None, None))
    # group b: (0.85 - 0.4) / (1.0 - 0.4) = 0.75; its frame has no seed 1
    assert lines[TWO_STEP._replace(group='b')]['gap recovery'].values == pytest.approx((0.75, None))
    last = lines[TWO_STEP._replace(key_interval=20)]
    assert last['gap recovery'].mean is None, 'copy of another interval is no reference'
    assert last['speed-up'].mean == pytest.approx(5.0)


def test_figures_of_fewer_seeds_are_marked():
    """Seed 2 has no gap recovery, since copy is as good as frame; speed is of the first seed."""
    third = {FRAME: 0.8, COPY: 0.8, TWO_STEP: 0.7}
    measured = {row: {**own, 2: measure(third[row])} for row, own in MEASURED.items()}
    reg = Row('reg', 'propagate', 10)
    lines = build_lines({**measured, reg: {seed: measure(0.6) for seed in (0, 1)}})
    ((title, rows),) = blocks(lines, {}, 'table').items()
    title, (header, *table) = format_block(title, rows, lines, None)
    assert title == 'A key frame every 10 frames, 3 seeds (mean ± standard deviation)'
    found = {row[0]: dict(zip(header, row, strict=True)) for row in table}
    assert found['two-step']['mAP'] == '75.0 ± 8.7'
    assert found['two-step']['gap recovery'] == '82.5 ± 10.6 % (2)'
    assert found['two-step']['fps'] == '20.00'
    assert found['reg']['mAP'] == '60.0 ± 0.0 (2)' and found['reg']['slow'] == '60.0 (2)'
    assert found['frame']['gap recovery'] == '-'


def test_blocks_of_intervals_of_a_paper_s_tables_and_of_rows():
    later = COPY._replace(key_interval=20)
    lines = build_lines({**MEASURED, later: MEASURED[COPY]})
    assert [*blocks(lines, {}, 'table').values()] == [[FRAME, COPY, TWO_STEP], [FRAME, later]]
    paper = {'1': {'frame': '59.31', 'two-step': '-'}, '5': {'other': '1'}}
    assert blocks(lines, paper, 'table') == {'Table 1': [FRAME, TWO_STEP]}
    _, table = format_block('Table 1', [FRAME, TWO_STEP], lines, paper['1'])
    assert [row[:4] for row in table] == [
        ['', 'l', 'paper', 'mAP'],
        ['frame', '-', '59.31', '85.0 ± 7.1'],
        ['two-step', '10', '-', '77.5 ± 10.6'],
    ]
    curve = blocks(lines, {}, 'curve')
    assert list(curve) == ['copy (copy)', 'two-step (propagate)']
    _, table = format_block('copy (copy)', curve['copy (copy)'], lines, None)
    assert [row[0] for row in table] == ['', 'frame', 'l = 10', 'l = 20']


def test_files_of_results_make_a_table(tmp_path):
    """Speeds are of the first seed; those that varied too much are not shown."""
    for seed in (0, 3):
        for row, share in ((FRAME, 0.6), (COPY, 0.4), (TWO_STEP, 0.5)):
            folder = tmp_path / f'seed{seed}' / 'rows' / row.label
            folder.mkdir(parents=True)
            (folder / 'metrics.json').write_text(json.dumps({'seg/mIoU': share}))
    speed = {row.label: dict(fps=2.0, speed_up=1.0, spread=0.1) for row in (FRAME, TWO_STEP)}
    speed[COPY.label] = dict(fps=9.0, speed_up=4.5, spread=0.3)
    (tmp_path / 'speed-all').mkdir()
    (tmp_path / 'speed-all' / 'speed.json').write_text(json.dumps(dict(rows=speed)))
    rows = [','.join(map(str, row)) for row in (FRAME, COPY, TWO_STEP)]
    text = make_tables(tmp_path, rows=[*rows, 'sem,propagate,10,all'], seeds=[0, 3])
    assert 'A key frame every 10 frames, 2 seeds' in text and BUSY in text and FEWER not in text
    table = (tmp_path / 'table.md').read_text()
    assert '| | mIoU | fps | speed-up | gap recovery |' in table
    assert '| copy | 40.0 ± 0.0 | - | - | 0.0 ± 0.0 % |' in table
    assert '| two-step | 50.0 ± 0.0 | 2.00 | 1.00× | 50.0 ± 0.0 % |' in table
    [*_, line] = json.loads((tmp_path / 'table.json').read_text())
    assert (line['name'], line['seeds'], line['mIoU']['values']) == ('two-step', [0, 3], [0.5, 0.5])
    assert (tmp_path / 'table.png').read_bytes()[:4] == b'\x89PNG'
