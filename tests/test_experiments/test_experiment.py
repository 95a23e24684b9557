"""Experiment configs: layout as steps, and what is refused."""

import pytest

from semidff.experiments.experiment import ExperimentError, cli_value
from semidff.utils.command_line import parse_settings
from tests.tiny.experiment import EXPERIMENT, load, make_project


def by_name(experiment):
    steps = [*experiment.steps, *(one.step for one in experiment.evaluations)]
    return {step.name: step for step in (*steps, *experiment.speed_steps(experiment.evaluations))}


def test_paths_are_filled_in_and_make_dependencies(tmp_path):
    text = EXPERIMENT.replace("method='copy'", "method='copy', needs=['dataset']")
    text = text.replace("{'data': '{dataset}/n'}", "{'data': ['{dataset}/n', ('{seed}', 2)]}")
    steps = by_name(load(make_project(tmp_path, text), work_dir='elsewhere'))
    assert 'data=[elsewhere/dataset/n,(0,2)]' in steps['stage_one'].command
    assert steps['rows/copy/l5'].needs == ('dataset', 'stage_one')
    assert steps['stage_two'].needs == ('stage_one',)
    assert steps['stage_one'].needs == ('dataset',)
    assert steps['rows/two-step/l5'].needs == ('stage_two',)
    assert steps['stage_two'].command == (
        'tools/train.py', 'two.py', '--work-dir', 'elsewhere/stage_two', '--cfg-options', 'randomness.seed=0',
        'load_parts.detector.checkpoint=elsewhere/stage_one/last.pth',
        'default_hooks.last_checkpoint.type=LastCheckpointHook',
    )  # fmt: skip
    row = steps['rows/copy/l5'].command
    assert row[1:4] == ('one.py', 'elsewhere/stage_one/last.pth', '--method')
    assert row[row.index('--key-interval') + 1] == '5'
    assert '--key-interval' not in steps['rows/frame'].command


def test_configs_refer_to_the_experiment_by_variables(tmp_path):
    steps = by_name(load(make_project(tmp_path, EXPERIMENT + 'seeds = [0, 1]\n')))
    variables = dict(steps['seed1/stage_two'].environment)
    assert variables == {'EXPERIMENT_DIR': 'out', 'RUN_DIR': 'out/seed1'}


def test_settings_from_the_command_line(tmp_path):
    experiment = load(make_project(tmp_path), cfg_options={'seeds': [1, 2], 'key_intervals': 7})
    assert [s.name for s in experiment.steps] == [
        'dataset', 'seed1/stage_one', 'seed1/stage_two', 'seed2/stage_one', 'seed2/stage_two',
    ]  # fmt: skip
    assert {one.key_interval for one in experiment.evaluations} == {None, 7}
    rendered = [e for e in experiment.evaluations if '--render' in e.step.command]
    assert rendered == [], 'the row is rendered at key interval 10 only'


def test_speed_is_measured_alone_after_the_rows(tmp_path):
    steps = by_name(load(make_project(tmp_path, EXPERIMENT + 'seeds = [0, 3]\n')))
    rows = {name for name in steps if '/rows/' in name}
    assert not any(steps[name].alone for name in rows), 'rows give accuracy only'
    assert steps['speed'].alone
    assert set(steps['speed'].needs) == {name for name in rows if name.startswith('seed0/')}
    # test.py leaves the config there; rows with the same config and weights share the file
    one = 'out/seed0/rows/frame/one.py,out/seed0/stage_one/last.pth'
    assert f'frame={one},frame,1' in steps['speed'].command
    assert f'copy/l5={one},copy,5' in steps['speed'].command


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("name='stage_one', train", "name='stage_two', train", "step name 'stage_two': must be unique"),
        ("name='two-step', config", "name='a/b', config", "row name 'a/b'"),
        ("{'data': '{dataset}/n'}", "{'data': '{stage_two}/n'}", "stage_one: needs 'seed0/stage_two', which is not"),
        ("needs=['dataset']", "need=['dataset']", "step stage_one: .* unexpected keyword argument 'need'"),
        ("method='copy'", "method='kopy'", "row copy: method = 'kopy', expected one of"),
        ('{stage_two}/last.pth', '{stage_3}/last.pth', "unknown {'stage_3'}"),
        ('[5, 10]', '[0, 10]', r'key_intervals = \[0, 10\]: expected integers'),
        ("train='two.py'", "train='two.py', command=['ls']", "stage_two: needs either 'command'"),
        ("train='two.py'", "train='absent.py'", 'stage_two: there is no config absent.py'),
        ("{'data': '{dataset}/n'}", "{'data': {'a': 1}}", 'one dotted key for each value'),
        ("train='two.py',", "train='two.py', shared=True,", r"stage_two: is shared by all .*needs \['seed0"),
    ],
)  # fmt: skip
def test_bad_configs_are_refused(tmp_path, old, new, message):
    text = EXPERIMENT + 'seeds = [0, 1]\n'
    assert old in text
    with pytest.raises(ExperimentError, match=message):
        load(make_project(tmp_path, text.replace(old, new)))


def test_settings_survive_the_command_line():
    values = {'a.b': 1, 'c': 0.5, 'd': 'y.json', 'e': [1, 2], 'f': (0.9, 'z'), 'g': None, 'h': True}
    pairs = [f'{key}={cli_value(key, value)}' for key, value in values.items()]
    assert parse_settings(pairs) == values
    with pytest.raises(ExperimentError, match='another work_dir'):
        cli_value('path', 'my videos/a.mp4')
