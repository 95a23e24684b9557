"""Table 1 by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from semidff.experiments.plot import draw
from semidff.experiments.report import (
    BUSY,
    FEWER,
    as_json,
    by_interval,
    by_table,
    markdown,
    show,
    text,
    write_report,
)
from semidff.experiments.table import COLUMNS, Cell, Measurement, build_table, by_video, collect
from tests.test_experiments.project import cells, load, make_project

FPS_OF_FRAME = 5.0, 4.0


def measure(row, method, interval, seed, mean_ap, fps):
    share = dict.fromkeys(('vid/mAP', 'vid/mAP_slow', 'vid/mAP_medium'), mean_ap)
    speed_up = fps and fps / FPS_OF_FRAME[seed]
    metrics = {**share, 'vid/mAP_fast': float('nan'), 'fps': fps, 'speed_up': speed_up}
    return Measurement(row, method, interval, seed, metrics)


MEASURED = [
    measure('frame', 'frame', None, 0, 0.90, 5.0),
    measure('frame', 'frame', None, 1, 0.80, 4.0),
    measure('copy', 'copy', 10, 0, 0.40, 40.0),
    measure('copy', 'copy', 10, 1, 0.40, 40.0),
    measure('two-step', 'propagate', 10, 0, 0.85, 20.0),
    measure('two-step', 'propagate', 10, 1, 0.70, 20.0),
]


def entries():
    return {entry.row: entry for entry in build_table(MEASURED)}


def test_means_and_deviations_over_seeds():
    table = entries()
    assert table['frame'].cells['mAP'].mean == pytest.approx(0.85)
    # sample deviation of two values: |a - b| / sqrt(2)
    assert table['frame'].cells['mAP'].sd == pytest.approx(0.1 / 2**0.5)
    assert table['two-step'].seeds == (0, 1)


def test_segmentation_has_miou_in_place_of_map(tmp_path):
    rows = [('frame', 'frame', None, 0.6), ('copy', 'copy', 10, 0.4), ('two', 'propagate', 10, 0.5)]
    table = build_table(
        Measurement(row, method, interval, 0, {'seg/mIoU': share, 'fps': 1.0, 'speed_up': 1.0})
        for row, method, interval, share in rows
    )
    (block,) = by_interval(table)
    assert block.rows[0] == ['', 'mIoU', 'fps', 'speed-up', 'gap recovery']
    assert block.rows[3] == ['two', '50.0', '1.00', '1.00×', '50.0 %']
    draw(table, tmp_path / 'table.png')
    line = as_json(table[2])
    assert line['mIoU']['mean'] == 0.5 and not {'mAP', 'slow', 'fast'} & set(line)


def test_comparisons_are_made_within_a_seed():
    cells = entries()['two-step'].cells
    # seed 0: (0.85 - 0.4) / (0.9 - 0.4) = 0.9; seed 1: (0.7 - 0.4) / (0.8 - 0.4) = 0.75
    assert cells['gap recovery'].values == pytest.approx((0.9, 0.75))
    assert cells['gap recovery'].mean == pytest.approx(0.825)
    assert cells['speed-up'].values == pytest.approx((4.0, 5.0))
    assert entries()['copy'].cells['gap recovery'].mean == pytest.approx(0.0)
    assert entries()['frame'].cells['speed-up'].mean == pytest.approx(1.0)
    assert entries()['frame'].cells['gap recovery'].mean is None


def test_rows_are_compared_within_their_group():
    other = [replace(item, row=f'b-{item.row}', group='b') for item in MEASURED]
    other[0] = replace(other[0], metrics={**other[0].metrics, 'vid/mAP': 1.0})
    table = {entry.row: entry.cells for entry in build_table([*MEASURED, *other])}
    # seed 0 of group b: (0.85 - 0.4) / (1.0 - 0.4) = 0.75
    assert table['b-two-step']['gap recovery'].values == pytest.approx((0.75, 0.75))
    assert table['two-step']['gap recovery'].values == pytest.approx((0.9, 0.75))


def test_copy_of_another_interval_is_no_reference():
    table = build_table([*MEASURED, measure('two-step', 'propagate', 20, 0, 0.6, 25.0)])
    assert table[-1].key_interval == 20
    assert table[-1].cells['gap recovery'].mean is None
    assert table[-1].cells['speed-up'].mean == pytest.approx(5.0)


def test_undefined_values_are_left_out():
    assert entries()['copy'].cells['fast'] == Cell(None, None, (None, None))
    no_gap = [measure('frame', 'frame', None, 0, 0.4, 5.0), *MEASURED[2:3], *MEASURED[4:5]]
    assert build_table(no_gap)[-1].cells['gap recovery'].mean is None
    assert Cell.of([None, 0.5]).mean == 0.5
    assert Cell.of([None, 0.5]).sd is None


def test_bad_measurements_are_refused():
    with pytest.raises(ValueError, match="row 'frame' at key interval None was measured twice"):
        build_table([*MEASURED, MEASURED[0]])
    with pytest.raises(ValueError, match="row 'x' .* has no 'vid/mAP'; its metrics are"):
        build_table([Measurement('x', 'copy', 5, 0, {'fps': 1.0})])


def test_how_cells_look():
    assert show('mAP', Cell.of([0.5, 0.6])) == '55.0 ± 7.1'
    assert show('gap recovery', Cell.of([0.884])) == '88.4 %'
    assert show('speed-up', Cell.of([3.456])) == '3.46×'
    assert show('fast', Cell.of([None])) == '-'


def test_text_and_markdown_have_a_block_for_each_interval():
    table = build_table([*MEASURED, measure('copy', 'copy', 20, 0, 0.3, 50.0)])
    blocks = text(by_interval(table)).split('\n\n')
    assert blocks[0].startswith('A key frame every 10 frames, 2 seeds (mean ± standard deviation):')
    assert [line[0] for line in cells(blocks[0])[1:]] == ['frame', 'copy', 'two-step']
    assert len({len(line) for line in blocks[0].splitlines()[1:]}) == 1, 'columns line up'
    assert [line[0] for line in cells(blocks[1])[1:]] == ['frame', 'copy']
    assert '| two-step | 77.5 ± 10.6 | ' in markdown(by_interval(table))


def test_figures_of_fewer_seeds_are_marked():
    """Seed 2 has no gap recovery, since copy is as good as frame, and no regression; speed is of one seed by design."""
    third = [
        measure('frame', 'frame', None, 0, 0.8, None),
        measure('copy', 'copy', 10, 0, 0.8, None),
        measure('two-step', 'propagate', 10, 0, 0.7, None),
    ]
    more = [*MEASURED, *(replace(item, seed=2) for item in third)]
    more += [measure('reg', 'propagate', 10, seed, 0.6, None) for seed in (0, 1)]
    (block,) = by_interval(build_table(more))
    assert '3 seeds' in block.title
    assert block.rows[0] == ['', *COLUMNS]
    rows = {row[0]: dict(zip(block.rows[0], row, strict=True)) for row in block.rows[1:]}
    assert rows['two-step']['mAP'] == '75.0 ± 8.7'
    assert rows['two-step']['gap recovery'] == '82.5 ± 10.6 % (2)'
    assert rows['two-step']['fps'] == '20.00'
    assert rows['reg']['mAP'] == '60.0 ± 0.0 (2)' and rows['reg']['slow'] == '60.0 (2)'
    assert rows['frame']['gap recovery'] == '-'
    assert block.note == FEWER and FEWER in text([block])
    assert FEWER not in text(by_interval(build_table(MEASURED)))


def test_a_block_for_each_table_of_a_paper(tmp_path):
    papers = {'frame': {'1': 59.31, '2': 59.31}, 'copy': {'1': None}, 'two-step': {'2': 58.68}}
    found = [replace(item, tables=papers[item.row]) for item in MEASURED]
    blocks = text(by_table(build_table(found))).split('\n\n')
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
    assert write_report(found, tmp_path).startswith('Table 1')
    assert json.loads((tmp_path / 'table.json').read_text())[-1]['paper'] == {'2': 58.68}


def test_the_report_is_written(tmp_path):
    printed = write_report(MEASURED, tmp_path)
    assert 'two-step' in printed
    data = json.loads((tmp_path / 'table.json').read_text(), parse_constant=pytest.fail)
    assert data[-1]['gap recovery']['values'] == pytest.approx([0.9, 0.75])
    assert data[1]['fast'] == {'mean': None, 'sd': None, 'values': [None, None]}
    assert (tmp_path / 'table.md').read_text().startswith('### A key frame every 10 frames')
    assert (tmp_path / 'table.png').read_bytes()[:4] == b'\x89PNG'


def test_the_legend_has_rows_without_speed(tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr(
        'matplotlib.figure.Figure.legend', lambda *given, **_: names.extend(given[2])
    )
    measured = [*MEASURED, measure('reg', 'propagate', 10, 0, 0.7, None)]
    draw(build_table(measured), tmp_path / 'table.png')
    assert names == ['frame', 'copy', 'two-step', 'reg']


def test_each_video_has_a_table_of_its_own():
    items = [
        Measurement(
            m.row, m.method, m.key_interval, m.seed, {**m.metrics, 'vid/mAP_of/street': 0.1 * n}
        )
        for n, m in enumerate(MEASURED, 1)
    ]
    videos = by_video(items)
    assert list(videos) == ['street']
    table = {entry.row: entry.cells for entry in build_table(videos['street'])}
    assert table['copy']['mAP'].values == pytest.approx((0.3, 0.4))
    assert table['copy']['slow'].mean is None
    assert table['frame']['fps'].mean == pytest.approx(4.5)
    assert by_video(MEASURED) == {}


def test_speed_comes_from_the_interleaved_measurement(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = load(make_project(tmp_path))
    for run in experiment.rows:
        metrics = measure(run.row, run.method, run.key_interval, 0, 0.5, 1.0).metrics
        run.step.folder.mkdir(parents=True)
        run.step.product.write_text(json.dumps({**metrics, 'vid/mAP_fast': None}))
    done = {'speed', *(run.step.name for run in experiment.rows)}
    rows = done - {'speed'}
    assert {m.metrics['fps'] for m in collect(experiment, rows)} == {None}, 'not the test itself'

    speeds = {run.label: dict(fps=20.0, speed_up=2.0, spread=0.1) for run in experiment.rows}
    speeds['frame'] = dict(fps=8.0, speed_up=1.0, spread=0.0)
    speeds['copy/l5'] = dict(fps=0.3, speed_up=0.27, spread=0.21)
    Path('out/speed').mkdir()
    Path('out/speed/speed.json').write_text(json.dumps(dict(rows=speeds, reference='frame')))
    former = {m.metrics['fps'] for m in collect(experiment, rows)}
    assert former == {None}, 'speeds of a step that has to be repeated'
    printed = write_report(collect(experiment, done), tmp_path)
    blocks = printed.split('A key frame every ')[1:]
    found = [{line[0]: line[5:7] for line in cells(block)[1:]} for block in blocks]
    assert found[0]['frame'] == ['8.00', '1.00×']
    assert found[0]['copy'] == ['-', '-'], 'not 0.27×'
    assert found[0]['two-step'] == found[1]['copy'] == ['20.00', '2.00×']
    assert [BUSY in block for block in blocks] == [True, False]
    assert (tmp_path / 'table.md').read_text().count(BUSY) == 1
