"""Experiment configs: layout as steps, and what is refused."""

import os
from pathlib import Path

import pytest

from semidff.experiments.settings import ExperimentError, cli_value
from tests.test_experiments.project import EXPERIMENT, load, make_project


@pytest.fixture(autouse=True)
def _in_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def by_name(experiment):
    return {step.name: step for step in experiment.all_steps}


def test_paths_are_filled_in_and_make_dependencies(tmp_path):
    steps = by_name(load(make_project(tmp_path), work_dir='elsewhere'))
    assert steps['stage_two'].needs == ('stage_one',)
    assert steps['stage_one'].needs == ('dataset',)
    assert steps['rows/two-step/l5'].needs == ('stage_two',)
    assert steps['stage_two'].command == (
        'tools/train.py', 'two.py', '--work-dir', 'elsewhere/stage_two',
        '--cfg-options', 'randomness.seed=0', 'load_from=elsewhere/stage_one/last.pth',
    )  # fmt: skip
    row = steps['rows/copy/l5'].command
    assert row[1:4] == ('one.py', 'elsewhere/stage_one/last.pth', '--method')
    assert row[row.index('--key-interval') + 1] == '5'
    assert '--key-interval' not in steps['rows/frame'].command


def test_a_folder_named_in_full_makes_a_dependency_too(tmp_path):
    text = EXPERIMENT.replace('{stage_one}/last.pth', '{work_dir}/stage_one/last.pth')
    steps = by_name(load(make_project(tmp_path, text)))
    assert steps['rows/frame'].needs == ('stage_one',)


@pytest.mark.parametrize(
    'text', ['./out/stage_one/last.pth', './/out/stage_one', '././out/stage_one/']
)
def test_a_path_from_the_current_folder_makes_a_dependency_too(tmp_path, text):
    experiment = make_project(tmp_path, two=f'load_from = {text!r}')
    experiment.write_text(experiment.read_text().replace("'{stage_one}/last.pth'}),", '1}),'))
    assert by_name(load(experiment))['stage_two'].needs == ('stage_one',)


def test_names_may_have_any_letters(tmp_path):
    experiment = make_project(tmp_path, two="x = '{{$EXPERIMENT_DIR:w}}/stage_one/last.pth'")
    experiment.write_text(experiment.read_text().replace("'{stage_one}/last.pth'}),", '1}),'))
    steps = by_name(load(experiment, work_dir='prüfung'))
    assert steps['stage_two'].needs == ('stage_one',)


@pytest.mark.parametrize(
    'argument', ['[{stage_one}]', '[{stage_one},3]', 'a={stage_one}:b', '{stage_one}']
)
def test_folders_inside_arguments_make_dependencies(tmp_path, argument):
    more = f"    dict(name='last', command=['python', '-c', 'pass', {argument!r}]),\n]\n_one"
    steps = by_name(load(make_project(tmp_path, EXPERIMENT.replace(']\n_one', more))))
    assert steps['last'].needs == ('stage_one',)


@pytest.mark.parametrize(
    'folder',
    ['{stage_one}-2', '{stage_one}.old', '{stage_one}2', '../{stage_one}', 'a/{stage_one}'],
)
def test_folders_of_similar_names_make_no_dependency(tmp_path, folder):
    more = f"    dict(name='last', command=['python', '-c', 'pass', {folder!r}]),\n]\n_one"
    steps = by_name(load(make_project(tmp_path, EXPERIMENT.replace(']\n_one', more))))
    assert steps['last'].needs == ()


def test_configs_refer_to_the_experiment_by_variables(tmp_path, monkeypatch):
    monkeypatch.setenv('RUN_DIR', 'the-user-s-own')
    experiment = make_project(
        tmp_path, one="data = '{{$EXPERIMENT_DIR:w}}/dataset/a'", two="x = '{{$RUN_DIR:w}}'"
    )
    text = experiment.read_text().replace("needs=['dataset'], ", '').replace("'{dataset}/n'", '1')
    experiment.write_text(text + 'seeds = [0, 1]\n')
    steps = by_name(load(experiment))
    assert steps['seed1/stage_one'].needs == ('dataset',)
    assert '"x": "out/seed1"' in steps['seed1/stage_two'].config
    assert steps['seed1/stage_two'].environment == {
        'EXPERIMENT_DIR': 'out', 'RUN_DIR': 'out/seed1'
    }  # fmt: skip
    assert os.environ['RUN_DIR'] == 'the-user-s-own'


def test_settings_from_the_command_line(tmp_path):
    experiment = load(make_project(tmp_path), cfg_options={'seeds': [1, 2], 'key_intervals': 7})
    assert [s.name for s in experiment.steps] == [
        'dataset', 'seed1/stage_one', 'seed1/stage_two', 'seed2/stage_one', 'seed2/stage_two',
    ]  # fmt: skip
    assert {run.key_interval for run in experiment.rows} == {None, 7}
    rendered = [run.step.name for run in experiment.rows if '--render' in run.step.command]
    assert rendered == [], 'the row is rendered at key interval 10 only'


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("name='stage_one', train", "name='stage_two', train", "'stage_two' is used 2 times"),
        ("needs=['dataset']", "needs=['stage_two']", "needs 'seed0/stage_two', which is not a step before"),
        ("{'data': '{dataset}/n'}", "{'data': '{stage_two}/n'}", "needs 'seed0/stage_two', which is not"),
        ("needs=['dataset']", "need=['dataset']", r"step 'stage_one' has unknown settings \['need'\]"),
        ("method='copy'", "method='kopy'", "row 'copy': method = 'kopy', expected one of"),
        ('{stage_two}/last.pth', '{stage_3}/last.pth', r'unknown \{stage_3\}'),
        ('[5, 10]', '[0, 10]', r'key_intervals = \[0, 10\]: expected distinct integers'),
        ("row='two-step'", "row='two_step'", "render: there is no row 'two_step'"),
        ("train='two.py'", "train='two.py', command=['ls']", "needs either 'command' or 'train'"),
        ("name='two-step', config", "name='a/b', config", "row name 'a/b'"),
        ("method='copy'", "method='copy', tables=['1']", r"tables = \['1'\], expected a dict"),
        ("method='copy'", "method='copy', key_intervals=[0]", r"'copy': key_intervals = \[0\]: expected"),
        ("method='copy'", "method='copy', key_intervals=5.5", r"'copy': key_intervals = \[5.5\]: expected"),
        ("{stage_two}/last.pth", "{stage_two}/a,b.pth", "must have no commas"),
        ("videos=2", "videos=0", r"render: videos = \[0\]"),
        ("name='two-step', config", "name='speed-a', config", "row name 'speed-a'.*nor \"speed-...\""),
        ("{'data': '{dataset}/n'}", "{'data': {'a': 1}}", 'one dotted key for each value'),
        ("train='two.py',", "train='two.py', shared=True,", r"shared by all .*needs \['seed0"),
    ],
)  # fmt: skip
def test_bad_configs_are_refused(tmp_path, old, new, message):
    text = EXPERIMENT + 'seeds = [0, 1]\n'
    assert old in text
    with pytest.raises(ExperimentError, match=message):
        load(make_project(tmp_path, text.replace(old, new)))


def test_settings_survive_the_command_line():
    from argparse import ArgumentParser

    from mmengine.config import DictAction

    values = {
        'a.b': 1,
        'c': 0.5,
        'd': 'x/y.json',
        'e': [1, 2],
        'f': (0.9, 'z'),
        'g': None,
        'h': True,
    }
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    pairs = [f'{key}={cli_value(key, value)}' for key, value in values.items()]
    assert parser.parse_args(['--cfg-options', *pairs]).cfg_options == values
    with pytest.raises(ExperimentError, match='do not survive'):
        cli_value('path', 'my videos/a.mp4')


@pytest.mark.parametrize('work_dir', ['my results', 'a,b', 'run [1]', 'run(1)'])
def test_work_dirs_that_break_settings_are_refused(tmp_path, work_dir):
    with pytest.raises(ExperimentError, match='give another work_dir'):
        load(make_project(tmp_path), work_dir=work_dir)


def test_names_are_filled_in_inside_lists(tmp_path):
    text = EXPERIMENT.replace("{'data': '{dataset}/n'}", "{'data': ['{dataset}/n', ('{seed}', 2)]}")
    steps = by_name(load(make_project(tmp_path, text)))
    assert steps['stage_one'].command[-1] == 'data=[out/dataset/n,(0,2)]'


def test_blanks_in_a_work_dir_are_no_matter_where_no_setting_names_it(tmp_path):
    text = EXPERIMENT.replace("cfg_options={'data': '{dataset}/n'}", '')
    text = text.replace("cfg_options={'load_from': '{stage_one}/last.pth'}", '')
    steps = by_name(load(make_project(tmp_path, text), work_dir='my results'))
    assert steps['rows/copy/l5'].needs == ('stage_one',)


def test_missing_experiment_config():
    with pytest.raises(FileNotFoundError, match='no-such-experiment'):
        load(Path('no-such-experiment.py'))
