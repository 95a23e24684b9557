"""The report on operating points: front, recommended points, the verdict, table and picture."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from semidff.analysis.operating_report import (
    DECIDING,
    _curves,
    _draw,
    above_dense,
    best,
    front,
    operating_report,
    plot_points,
    point_name,
    points_table,
)
from semidff.analysis.runs import OperatingPoint


def measured(method, interval, scale, accuracy, milliseconds, at_50=None, **point):
    one = OperatingPoint(method, interval, scale, **point)
    return dict(
        one._asdict(),
        interval=interval,
        milliseconds=milliseconds,
        speed_up=100 / milliseconds,
        metrics=dict(AP=accuracy, AP_50=at_50 or accuracy, boxes=accuracy + 2),
        causal=method not in ('centered', 'blend', 'interpolate') and one.filter != 'both',
    )


DENSE = [measured('frame', 1, 1.0, 0.9, 100), measured('frame', 1, 0.5, 0.7, 25)]
ABOVE = measured('propagate', 10, 1.0, 0.89, 30)
BELOW = measured('propagate', 20, 1.0, 0.6, 26)
OFFLINE = measured('centered', 20, 1.0, 0.88, 20)
COPY = measured('copy', 10, 1.0, 0.5, 11)


def verdict(points, *arguments, **options):
    return operating_report(points, *arguments, **options)['verdict']


def test_front_and_recommended_point(tmp_path):
    points = [*DENSE, ABOVE, BELOW]
    assert best(points) is ABOVE and front(points) == [DENSE[1], ABOVE, DENSE[0]]
    # between 25 ms and 100 ms in the logarithm
    assert above_dense(points, ABOVE) == pytest.approx(0.89 - (0.7 + 0.2 * np.log(1.2) / np.log(4)))
    assert above_dense([*points, OFFLINE], OFFLINE) is None
    report = operating_report([*DENSE, ABOVE, BELOW, OFFLINE, COPY])
    assert report['reference']['scale'] == 1
    # an offline point dominates no causal one
    assert [one['pareto'] for one in report['points']] == [True, True, True, False, True, True]
    gaps = [one['gap_recovery'] for one in report['points']]
    assert gaps == [None, None, pytest.approx(0.39 / 0.4), None, None, 0]
    main, table = points_table(report).split('## ')
    assert '| dense | | 1 | 100.0 | 1.00 | 90.0 | 90.0 | 2.9 / 2.9 | |' in table
    assert '98 %' not in main and '| centered (offline) |' in main  # which is recommended
    labeled = operating_report([*DENSE, ABOVE, COPY], settings=dict(labels='val.json'))
    assert '| 98 % |' in points_table(labeled)
    assert '26.0' in table and '26.0' not in main  # dominated
    points = [*DENSE, measured('propagate', 10, 0.5, 0.1, 10), COPY]
    small = operating_report(points, settings=dict(labels='val.json'))
    [row, *_] = [
        line for line in points_table(small).splitlines() if line.startswith('| propagate')
    ]
    assert '%' not in row  # *copy* has the full size


def test_the_picture(tmp_path):
    plot_points(operating_report([*DENSE, ABOVE, OFFLINE]), tmp_path / 'points.png')
    picture = (tmp_path / 'points.png').read_bytes()
    assert len(picture) > 10000
    dominated = measured('propagate', 5, 1.0, 0.8, 40)  # is not drawn
    plot_points(operating_report([*DENSE, ABOVE, dominated, OFFLINE]), tmp_path / 'points.png')
    assert (tmp_path / 'points.png').read_bytes() == picture
    axes, low = Figure().subplots(), measured('propagate', 20, 0.5, 0.3, 5)
    report = operating_report([*DENSE, ABOVE, low])
    _draw(report, axes, 'AP', _curves(report, 'AP'), {10})
    assert axes.get_ylim()[0] > 0.5 * 90 and axes.get_ylabel().startswith('agreement')


def test_the_verdict():
    text = verdict([*DENSE, ABOVE, BELOW])
    assert text.startswith(
        'Use propagate at l = 10: 3.3 times as fast as the detector, AP -1.0 and'
    )
    text = verdict([*DENSE, ABOVE, OFFLINE])
    assert text.startswith('Use centered at l = 20: ')
    assert 'It waits for later frames. For live video, use propagate at l = 10: 3.3' in text
    text = verdict([*DENSE, BELOW], 0.25)
    assert text.startswith('Use the dense detector, input size × 0.5: 4.0 times as fast')
    keep = 'Keep the dense detector: nothing is more than 10 % faster within 3 points of both.'
    assert verdict([*DENSE, BELOW]) == keep
    # AP alone does not decide
    assert verdict([*DENSE, measured('track', 5, 1.0, 0.9, 20, 0.8)]) == keep
    text = verdict([DENSE[0], measured('frame', 1, 0.5, 0.91, 25)])
    assert text.startswith('Use the dense detector, input size × 0.5')
    assert '(against input size × 0.5)' in text
    filtered = measured('frame', 1, 1.0, 0.95, 105, filter='causal')
    assert verdict([*DENSE, filtered]).startswith('Keep the dense detector, causal filter: 1.0')


def test_the_most_accurate_point_with_a_frame_rate_is_recommended():
    """Whatever it loses."""
    points = [*DENSE, ABOVE, BELOW, OFFLINE]
    for fps, *expected in ((9, DENSE[0], DENSE[0]), (33, ABOVE, ABOVE), (40, OFFLINE, DENSE[1])):
        found = [best(points, fps=fps, causal=causal) for causal in (False, True)]
        assert found == expected
    text = verdict(points, fps=40)
    assert ', 50.0 frames per second, AP -2.0 and AP_50 -2.0 points' in text
    assert 'nothing causal that was measured with 40 frames per second has a higher AP' in text
    text = verdict([DENSE[0], ABOVE], fps=40)
    assert text.endswith('nothing that was measured reaches 40 frames per second.')


def test_what_the_other_reference_recommends():
    """It is said where it differs."""
    for name, is_raw in (('left_out', False), ('filtered', True)):
        points = [dict(one, metrics=dict(one['metrics'])) for one in (*DENSE, ABOVE, OFFLINE)]
        for one, value in zip(points, (0.9, 0.6, 0.89, 0.7), strict=True):
            one['metrics'] |= {name: value, f'{name}_50': value}
            one['metrics']['boxes'] = one['metrics'].pop('boxes')  # they are last
        settings = dict(is_raw=is_raw, left_out=(0.8, 0.9))
        report = operating_report(points, settings=settings)
        assert report['recommended']['method'] == 'centered'
        assert report['recommended_else']['method'] == 'propagate'
        text = points_table(report)
        assert f'By {name.replace("_", "-")} boxes, it would be propagate at l = 10.' in text
        assert '0.800 for *track*, filtered both ways, and 0.900 for *interpolate*' in text
        assert (': filtered boxes are no reference.' in text) == is_raw
        assert ('It favors points with a filter.' in text) != is_raw
    assert operating_report(DENSE)['recommended_else'] is None


SENTENCE = re.compile(
    r'([Kk]eep|[Uu]se) (.+?): (?:(.+?) times as fast as the detector(?:, ([\d.]+) frames per second)?, '
    r'AP (\S+) and AP_50 (\S+) points(?: \(against input size × (\S+)\))?(?:; AP (\S+) against smaller frames in '
    r'the same time)?; )?nothing( causal)? (.*?)\.(?= |$)'
)


@pytest.mark.parametrize('fps', [None, 15, 60])
def test_the_verdict_is_true_of_any_table(fps):
    """Each statement of it is compared with the table by itself."""
    random = np.random.default_rng(0)
    for _ in range(200):
        points = [measured('frame', 1, 1.0, random.uniform(0.4, 0.9), 100)]
        for scale, kind in ((1.0, 'causal'), (1.0, 'both'), (0.5, None), (0.5, 'causal')):
            one = measured('frame', 1, scale, random.uniform(0.3, 0.9), 105 * scale, filter=kind)
            points.append(one)
        for method in random.choice(['track', 'interpolate', 'propagate'], 6):
            interval, accuracy = int(random.integers(2, 20)), random.uniform(0.3, 0.95)
            at_50 = random.uniform(0.3, 0.95)
            points.append(measured(method, interval, 1.0, accuracy, random.uniform(5, 99), at_50))
        report = operating_report(points, fps=fps)
        causal_only = report['recommended']['causal']
        sentences = SENTENCE.findall(report['verdict'])
        assert len(sentences) == 2 - causal_only
        reference = max((p for p in points if p['method'] == 'frame' and not p['filter']),
                        key=lambda p: p['metrics']['AP'])  # fmt: skip
        for keep, name, speed, rate, *gains, against, above, causal, rival in sentences:
            [own, *_] = [p for p in report['points'] if point_name(p) == name and p in (
                report['recommended'], report['recommended_causal'])]  # fmt: skip
            assert bool(causal) == (len(sentences) == 2 and name == sentences[1][1])
            assert (keep in ('Keep', 'keep')) == (
                own['method'] == 'frame' and own['scale'] == 1 and not fps
            )
            for metric, gain in zip(DECIDING, gains, strict=True):
                if gain:
                    expected = 100 * (own['metrics'][metric] - reference['metrics'][metric])
                    assert float(gain) == pytest.approx(expected, abs=0.06)
            assert (against or '1') == f'{reference["scale"]:g}'
            if speed:
                assert float(speed) == pytest.approx(100 / own['milliseconds'], abs=0.06)
            if above:
                assert own['above_dense'] * 100 == pytest.approx(float(above), abs=0.06)
            if rate:
                assert float(rate) == pytest.approx(1000 / own['milliseconds'], abs=0.06)
            others = [p for p in points if p['causal'] or not causal]
            if 'faster within 3 points of both' in rival:
                others = [p for p in others if 1.1 * p['milliseconds'] < own['milliseconds'] - 1e-6]
                assert not any(
                    all(p['metrics'][n] >= reference['metrics'][n] - 0.03 for n in DECIDING)
                    for p in others
                )
            elif 'has a higher AP' in rival:
                fast = [p for p in others if p['milliseconds'] <= 1000 / fps]
                assert max(p['metrics']['AP'] for p in fast) == own['metrics']['AP']
                assert own['milliseconds'] <= 1000 / fps
            else:
                assert min(p['milliseconds'] for p in others) > 1000 / fps
