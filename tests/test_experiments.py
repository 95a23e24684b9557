"""Experiments by Make, from the data to the table, with stubs of the tools.

A stub trains three iterations of a file, a test reads the accuracy of its checkpoint.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.config_files import ROOT

TRAIN = """
import pathlib, sys
config, folder, *options = sys.argv[1], pathlib.Path(sys.argv[3]), *sys.argv[6:]
folder.mkdir(parents=True, exist_ok=True)
start = len(list(folder.glob('iter_*')))
for i in range(start + 1, 4):
    (folder / f'iter_{i}').touch()
    if i == 2 and pathlib.Path('interrupt').exists():
        sys.exit('loss is nan')
(folder / 'last.pth').write_text(f'{config} from {start} {" ".join(options)}')
"""
TEST = """
import json, pathlib, sys
arguments = sys.argv[1:]
out = arguments[arguments.index('--metrics-out') + 1]
share = dict(frame=0.9, copy=0.4, propagate=0.8)[arguments[3]]
pathlib.Path(out).write_text(json.dumps({'seg/mIoU': share, 'checkpoint': arguments[1]}))
"""
SPEED = """
import json, pathlib, sys
rows = [a.split('=')[0] for n, a in zip(sys.argv, sys.argv[1:]) if n == '--row']
out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])
out.write_text(json.dumps({'rows': {row: dict(fps=10.0, speed_up=2.0) for row in rows}}))
"""
EXPERIMENT = """
OUT ?= out
INTERVALS ?= 5 10
TABLE_1 := frame=59.31 two-step=-
OPTIONS_two_step := a.b=[temporal,task_network]
include configs/_base_/experiment.mk

$(OUT)/data/world.json:
	$(BEGIN)
	@echo made > $@

$(call shared,one,one.py,$(OUT)/data/world.json)
$(call train,two_step,two.py,$(OUT)/one/last.pth)
$(call row,frame,frame,one.py,$(OUT)/one/last.pth)
$(call row,copy,copy,one.py,$(OUT)/one/last.pth)
$(call row,two-step,propagate,two.py,$(RUN)/two_step/last.pth)
"""


@pytest.fixture
def make(tmp_path):
    """Run Make in a folder with the experiment and return the steps that it starts."""
    for name, text in dict(train=TRAIN, test=TEST).items():
        (tmp_path / 'tools/analysis').mkdir(parents=True, exist_ok=True)
        (tmp_path / f'tools/{name}.py').write_text(text)
    (tmp_path / 'tools/analysis/speed.py').write_text(SPEED)
    (tmp_path / 'tools/analysis/tables.py').symlink_to(ROOT / 'tools/analysis/tables.py')
    (tmp_path / 'small.mk').write_text(EXPERIMENT)

    def run(*arguments: str, status: int = 0) -> tuple[list[str], str]:
        command = ['make', '-I', str(ROOT), '-f', 'small.mk', f'PYTHON={sys.executable}']
        environment = {k: v for k, v in os.environ.items() if not k.startswith('MAKE')}
        environment['PYTHONPATH'] = f'{ROOT}'
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert (done.returncode > 0) == status, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        return sorted(one.split(':')[0] for one in lines if ': started' in one), done.stdout

    return run


ROWS = ['rows/copy/l10', 'rows/copy/l5', 'rows/frame/l1', 'rows/two-step/l10', 'rows/two-step/l5']


def of_seed(seed: int) -> list[str]:
    return [*(f'seed{seed}/{row}' for row in ROWS), f'seed{seed}/two_step']


def test_from_the_data_to_the_table(make, tmp_path):
    started, printed = make()
    assert started == ['data', 'one', *of_seed(0), 'speed-all']
    assert 'A key frame every 5 frames, one seed:' in printed
    # (0.8 - 0.4) / (0.9 - 0.4)
    table = (tmp_path / 'out/table.md').read_text()
    assert '| two-step | 80.0 | 10.00 | 2.00× | 80.0 % |' in table
    assert (tmp_path / 'out/seed0/two_step/last.pth').read_text() == (
        'two.py from 0 randomness.seed=0 a.b=[temporal,task_network]'
    )
    assert make('rows')[0] == [], 'all steps are done'
    (tmp_path / 'out/seed0/rows/copy/l5/metrics.json').unlink()
    assert make('rows')[0] == ['seed0/rows/copy/l5']


def test_an_interrupted_training_goes_on_and_a_newer_one_starts_again(make, tmp_path):
    (tmp_path / 'interrupt').touch()
    started, printed = make('rows', status=1)
    assert 'loss is nan' in printed and 'one failed, log: out/logs/one.log' in printed
    assert started == ['data', 'one']
    (tmp_path / 'interrupt').unlink()
    assert make('rows')[0] == ['one', *of_seed(0)]
    one = tmp_path / 'out/one/last.pth'
    assert one.read_text() == 'one.py from 2 randomness.seed=0'
    (tmp_path / 'out/data/world.json').unlink()
    assert make('rows')[0] == ['data', 'one', *of_seed(0)]
    assert one.read_text() == 'one.py from 0 randomness.seed=0'


def test_seeds_share_steps_and_tables_choose_rows(make, tmp_path):
    started, printed = make('SEEDS=0 3', 'INTERVALS=10', 'TABLES=1', 'OPTIONS=x=1')
    rows = [f'seed{n}/{name}' for n in (0, 3) for name in ('rows/frame/l1', ROWS[3], 'two_step')]
    assert started == ['data', 'one', *rows, 'speed-all']
    assert 'Table 1, 2 seeds (mean ± standard deviation):' in printed
    assert (
        '| two-step | 10 | - | 80.0 ± 0.0 | 10.00 | 2.00× | - |'
        in (tmp_path / 'out/table.md').read_text()
    )
    metrics = json.loads((tmp_path / f'out/seed3/{ROWS[3]}/metrics.json').read_text())
    assert metrics['checkpoint'] == 'out/seed3/two_step/last.pth'
    text = (tmp_path / 'out/seed3/two_step/last.pth').read_text()
    assert text == 'two.py from 0 randomness.seed=3 x=1 a.b=[temporal,task_network]'
