"""Table 1 by hand."""

from dataclasses import replace

import pytest

from semidff.experiments.experiment import Evaluation, Row
from semidff.experiments.plot import draw_table
from semidff.experiments.tables import (
    BUSY,
    FEWER,
    Cell,
    Measurement,
    build_lines,
    build_tables,
    distance_line,
)
from tests.tiny.experiment import cells

FPS_OF_FRAME = 5.0, 4.0


def measurement(row, method, interval, seed, metrics, **settings):
    row = Row(row, 'c.py', 'c.pth', method, **settings)
    return Measurement(Evaluation(row, interval, seed, None), metrics)


def measure(row, method, interval, seed, mean_ap, fps, **settings):
    metrics = dict.fromkeys(('vid/mAP', 'vid/mAP_slow', 'vid/mAP_medium'), mean_ap)
    metrics |= {'vid/mAP_fast': float('nan'), 'fps': fps}
    metrics['speed_up'] = fps and fps / FPS_OF_FRAME[seed]
    return measurement(row, method, interval, seed, metrics, **settings)


MEASURED = [
    measure('frame', 'frame', None, 0, 0.90, 5.0),
    measure('frame', 'frame', None, 1, 0.80, 4.0),
    measure('copy', 'copy', 10, 0, 0.40, 40.0),
    measure('copy', 'copy', 10, 1, 0.40, 40.0),
    measure('two-step', 'propagate', 10, 0, 0.85, 20.0),
    measure('two-step', 'propagate', 10, 1, 0.70, 20.0),
]


def changed(item, seed=None, metrics=None, **row):
    """Return a measurement with other settings of its row, another seed or other metrics."""
    one = item.evaluation
    seed = one.seed if seed is None else seed
    one = replace(one, row=replace(one.row, **row), seed=seed)
    return Measurement(one, {**item.metrics, **(metrics or {})}, item.busy)


def lines(measured=MEASURED):
    return {line.row.name: line for line in build_lines(measured)}


def test_means_and_deviations_over_seeds_and_comparisons_within_a_seed():
    found = lines()
    assert found['frame'].cells['mAP'].mean == pytest.approx(0.85)
    # sample deviation of two values: |a - b| / sqrt(2)
    assert found['frame'].cells['mAP'].sd == pytest.approx(0.1 / 2**0.5)
    assert found['two-step'].seeds == (0, 1)
    cells = found['two-step'].cells
    # seed 0: (0.85 - 0.4) / (0.9 - 0.4) = 0.9; seed 1: (0.7 - 0.4) / (0.8 - 0.4) = 0.75
    assert cells['gap recovery'].values == pytest.approx((0.9, 0.75))
    assert cells['gap recovery'].mean == pytest.approx(0.825)
    assert cells['speed-up'].values == pytest.approx((4.0, 5.0))
    assert found['copy'].cells['gap recovery'].mean == pytest.approx(0.0)
    assert found['frame'].cells['speed-up'].mean == pytest.approx(1.0)
    assert found['frame'].cells['gap recovery'].mean is None
    line = found['copy'].as_json()
    assert line['fast'] == {'mean': None, 'sd': None, 'values': (None, None)}


def test_rows_are_compared_within_their_group():
    other = [changed(m, name=f'b-{m.evaluation.row.name}', group='b') for m in MEASURED]
    other[0] = changed(other[0], metrics={'vid/mAP': 1.0})
    found = lines([*MEASURED, *other])
    # seed 0 of group b: (0.85 - 0.4) / (1.0 - 0.4) = 0.75
    assert found['b-two-step'].cells['gap recovery'].values == pytest.approx((0.75, 0.75))
    assert found['two-step'].cells['gap recovery'].values == pytest.approx((0.9, 0.75))


def test_undefined_values_are_left_out():
    last = build_lines([*MEASURED, measure('two-step', 'propagate', 20, 0, 0.6, 25.0)])[-1]
    assert last.key_interval == 20
    assert last.cells['gap recovery'].mean is None, 'copy of another interval is no reference'
    assert last.cells['speed-up'].mean == pytest.approx(5.0)
    assert lines()['copy'].cells['fast'] == Cell(None, None, (None, None))
    no_gap = [measure('frame', 'frame', None, 0, 0.4, 5.0), *MEASURED[2:3], *MEASURED[4:5]]
    assert build_lines(no_gap)[-1].cells['gap recovery'].mean is None
    assert Cell.of([None, 0.5]).mean == 0.5
    assert Cell.of([None, 0.5]).sd is None


def test_text_and_markdown_have_a_block_for_each_interval():
    (table,) = build_tables([*MEASURED, measure('copy', 'copy', 20, 0, 0.3, 50.0)])
    blocks = table.text().split('\n\n')
    assert blocks[0].startswith('A key frame every 10 frames, 2 seeds (mean ± standard deviation):')
    assert [line[0] for line in cells(blocks[0])[1:]] == ['frame', 'copy', 'two-step']
    assert len({len(line) for line in blocks[0].splitlines()[1:]}) == 1, 'columns line up'
    assert [line[0] for line in cells(blocks[1])[1:]] == ['frame', 'copy']
    assert '| two-step | 77.5 ± 10.6 | ' in table.markdown()
    assert table.markdown().startswith('### A key frame every 10 frames')


def test_figures_of_fewer_seeds_are_marked():
    """Seed 2 has no gap recovery, since copy is as good as frame, and no regression; speed is of one seed by design."""
    third = [
        measure('frame', 'frame', None, 0, 0.8, None),
        measure('copy', 'copy', 10, 0, 0.8, None),
        measure('two-step', 'propagate', 10, 0, 0.7, None),
    ]
    more = [*MEASURED, *(changed(item, seed=2) for item in third)]
    more += [measure('reg', 'propagate', 10, seed, 0.6, None) for seed in (0, 1)]
    ((block,),) = (table.blocks for table in build_tables(more))
    assert '3 seeds' in block.title
    rows = {row[0]: dict(zip(block.rows[0], row, strict=True)) for row in block.rows[1:]}
    assert rows['two-step']['mAP'] == '75.0 ± 8.7'
    assert rows['two-step']['gap recovery'] == '82.5 ± 10.6 % (2)'
    assert rows['two-step']['fps'] == '20.00'
    assert rows['reg']['mAP'] == '60.0 ± 0.0 (2)' and rows['reg']['slow'] == '60.0 (2)'
    assert rows['frame']['gap recovery'] == '-'
    assert block.note == FEWER
    busy = measure('copy', 'copy', 10, 0, 0.4, None)._replace(busy=True)
    (table,) = build_tables([MEASURED[0], busy])
    assert BUSY in table.text() and FEWER not in table.text()


def test_segmentation_has_miou_in_place_of_map(tmp_path):
    rows = [('frame', 'frame', None, 0.6), ('copy', 'copy', 10, 0.4), ('two', 'propagate', 10, 0.5)]
    (table,) = build_tables(
        [
            measurement(*row, 0, {'seg/mIoU': share, 'fps': 1.0, 'speed_up': 1.0})
            for *row, share in rows
        ]
    )
    (block,) = table.blocks
    assert block.rows[0] == ['', 'mIoU', 'fps', 'speed-up', 'gap recovery']
    assert block.rows[3] == ['two', '50.0', '1.00', '1.00×', '50.0 %']
    draw_table(table.lines, tmp_path / 'table.png')
    line = table.lines[2].as_json()
    assert line['mIoU']['mean'] == 0.5 and not {'mAP', 'slow', 'fast'} & set(line)


def test_a_block_for_each_table_of_a_paper():
    papers = {'frame': {'1': 59.31, '2': 59.31}, 'copy': {'1': None}, 'two-step': {'2': 58.68}}
    found = [changed(m, tables=papers[m.evaluation.row.name]) for m in MEASURED]
    (table,) = build_tables(found)
    blocks = table.text().split('\n\n')
    assert blocks[0].startswith('Table 1, 2 seeds (mean ± standard deviation):')
    assert [line[:4] for line in cells(blocks[0])] == [
        ['', 'l', 'paper', 'mAP'],
        ['frame', '-', '59.31', '85.0 ± 7.1'],
        ['copy', '10', '-', '40.0 ± 0.0'],
    ]
    assert [line[:3] for line in cells(blocks[1])[1:]] == [
        ['frame', '-', '59.31'],
        ['two-step', '10', '58.68'],
    ]
    assert table.lines[-1].as_json()['paper'] == {'2': 58.68}


def test_each_video_has_a_table_of_its_own():
    items = [changed(m, metrics={'vid/mAP_of/street': 0.1 * n}) for n, m in enumerate(MEASURED, 1)]
    _, table = build_tables(items)
    assert table.video == 'street'
    found = {line.row.name: line.cells for line in table.lines}
    assert found['copy']['mAP'].values == pytest.approx((0.3, 0.4))
    assert found['copy']['slow'].mean is None
    assert found['frame']['fps'].mean == pytest.approx(4.5)


def test_undefined_accuracies_at_distances():
    metrics = {'vid/mAP': 0.5, 'vid/mAP_at/0': 0.5, 'vid/mAP_at/10': None, 'vid/mAP_at/2': 0.3}
    line = distance_line(measurement('a', 'propagate', 3, 0, metrics)).as_json()
    assert line['mAP_at'] == [0.5, 0.3, None] and line['mean'] == pytest.approx(0.4)
