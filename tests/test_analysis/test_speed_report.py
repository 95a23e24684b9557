"""A speed report's arithmetic, by hand-made times."""

import json

import numpy as np
import pytest

from semidff.analysis.part_times import PartTimes
from semidff.analysis.speed_report import MethodTimes, Run, SpeedReport
from semidff.utils.atomic_write import write_json

PARTS = PartTimes(
    feature_network=90.0, flow_and_scale=12.0, warp=3.0, task_non_key=5.0, task_key=10.0
)


def times(network, **more) -> MethodTimes:
    """Of two clips of three frames: 2 ms for decoding, 1 for resizing, 1 for the copy."""
    network = np.array(network, float)
    same = np.ones_like(network)
    return MethodTimes(2 * same, same, same, network, **more)


FRAME = times([[100, 100, 100], [102, 104, 106]])
PROPAGATE = times([[110, 20, 30], [104, 26, 26]], detections=7.0)


def report(*more: Run) -> SpeedReport:
    run = Run('fp32', PARTS, dict(frame=FRAME, propagate=PROPAGATE))
    return SpeedReport(3, [run, *more], process_memory=512.0)


def test_speed_ups_and_their_bounds():
    (run,) = report().to_dict()['runs']
    assert run['ratio'] == pytest.approx(0.2)
    assert run['bound_network'] == pytest.approx(3 / 1.4)
    assert run['bound_end_to_end'] == pytest.approx(3 * 104 / (104 + 2 * 24))
    assert run['parts_ms'] == dict(decode=2, pipeline=1, to_device=1, **PARTS._asdict())
    methods = run['methods']
    network = (300 / 160 + 312 / 156) / 2  # the median of two clips
    whole = (312 / 172 + 324 / 168) / 2
    assert methods['propagate']['speedup_network'] == pytest.approx(network)
    assert methods['propagate']['speedup_end_to_end'] == pytest.approx(whole)
    assert methods['propagate']['share_network'] == pytest.approx(network / (3 / 1.4))
    assert methods['propagate']['share_end_to_end'] == pytest.approx(whole / (3 * 104 / 152))
    assert methods['propagate']['share_end_to_end_of_eq7'] == pytest.approx(whole / (3 / 1.4))
    assert methods['frame']['speedup_network'] == methods['frame']['speedup_end_to_end'] == 1
    assert 'share_network' not in methods['frame']


def test_latencies():
    methods = report().to_dict()['runs'][0]['methods']
    times = methods['propagate']['end_to_end_ms']
    assert times['mean'] == pytest.approx((172 / 3 + 168 / 3) / 2)
    assert methods['propagate']['fps'] == pytest.approx(1000 / times['mean'])
    assert times['key'] == pytest.approx(dict(p50=111.0, p90=113.4, p99=113.94))
    assert times['non_key']['p50'] == pytest.approx(30)
    assert methods['propagate']['network_ms']['non_key']['p50'] == pytest.approx(26)
    assert 'non_key' not in methods['frame']['end_to_end_ms']
    assert methods['frame']['end_to_end_ms']['key']['p50'] == pytest.approx(105)


def test_gains_are_over_the_dense_detector_of_the_first_options():
    fast = Run('bf16', PARTS, dict(frame=times(np.full((2, 3), 50.0)), propagate=PROPAGATE))
    run = report(fast).to_dict()['runs'][1]
    assert run['methods']['frame']['gain_over_first'] == pytest.approx((312 + 324) / 2 / 162)
    assert run['methods']['frame']['speedup_end_to_end'] == 1
    # the fair reference has the same options
    assert run['methods']['propagate']['speedup_network'] == pytest.approx(
        (150 / 160 + 150 / 156) / 2
    )


def test_text_and_markdown_and_json(tmp_path):
    both = report(Run('bf16', PARTS, dict(frame=FRAME._replace(memory=40.0), propagate=PROPAGATE)))
    text = both.text()
    assert 'bound at l = 3, network (DFF Eq. 7)' in text and '2.143' in text
    row = next(line for line in text.splitlines() if line.startswith('| fp32: propagate'))
    assert row.split()[4:7:2] == ['17.65', '56.7'] and '111.0 / 113.4 / 113.9' in row
    assert 'bf16: frame' in text and '512' in text and ' 40 |\n' in text
    tables = both.markdown().split('\n\n')
    assert len(tables) == 4
    for table in tables:
        head, rule, *rows = table.strip().splitlines()
        assert set(rule) <= set('|-:') and len(rows) > 1
        assert {row.count('|') for row in (head, rule, *rows)} == {head.count('|')}
    write_json(both.to_dict(), tmp_path / 'report.json', indent=2, nan_as_null=True)
    assert json.loads((tmp_path / 'report.json').read_text())['runs'][1]['options'] == 'bf16'
