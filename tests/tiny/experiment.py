"""Small project for tests of experiments: processes that train and test in a fraction of a second."""

from pathlib import Path

from semidff.experiments import Experiment, load_experiment, runner
from semidff.inference.methods import METHODS
from tests.processes import call

# Behaves like tools/train.py: counts iterations, writes checkpoints, continues with --resume.
TRAIN = """
import argparse, pathlib, time
p = argparse.ArgumentParser()
p.add_argument('config'); p.add_argument('--work-dir')
p.add_argument('--resume', action='store_true')
p.add_argument('--cfg-options', nargs='+', default=[])
a = p.parse_args()
folder = pathlib.Path(a.work_dir); folder.mkdir(parents=True, exist_ok=True)
settings = {}; exec(open(a.config).read(), settings)
last = folder / 'last_checkpoint'
start = int(last.read_text().split('_')[-1][:-4]) if a.resume and last.exists() else 0
i = start
for i in range(start + 1, settings['iters'] + 1):
    time.sleep(0 if a.resume else settings.get('pause', 0))
    print(f'mmengine - INFO - Iter(train) [{i:4}/{settings["iters"]}] eta: 0:00:01')
    if i == settings.get('broken'):
        raise SystemExit('loss is nan at iteration %d' % i)
    (folder / f'iter_{i}.pth').write_text(f'{start} {" ".join(a.cfg_options)}')
    (folder / 'last_checkpoint').write_text(str(folder / f'iter_{i}.pth'))
(folder / 'last.pth').write_text((folder / f'iter_{i}.pth').read_text())
"""

# Behaves like tools/test.py: mAP from the config's `good`, for copy half of it; fps are wrong.
TEST = """
import argparse, json, pathlib
p = argparse.ArgumentParser()
p.add_argument('config'); p.add_argument('checkpoint'); p.add_argument('--method')
p.add_argument('--key-interval', type=int, default=1); p.add_argument('--work-dir')
p.add_argument('--metrics-out'); p.add_argument('--overwrite', action='store_true')
p.add_argument('--cfg-options', nargs='+')
p.add_argument('--render'); p.add_argument('--render-videos')
a = p.parse_args()
assert pathlib.Path(a.checkpoint).exists(), a.checkpoint
settings = {}; exec(open(a.config).read(), settings)
share = {'frame': 1.0, 'copy': 0.5, 'propagate': 0.9}[a.method]
m = settings['good'] * share
out = {'vid/mAP': m, 'vid/mAP_slow': m, 'vid/mAP_medium': m, 'vid/mAP_fast': None}
if 'test_cfg.protocol=pairs' in (a.cfg_options or []):
    out |= {f'vid/mAP_at/{d}': m * (1 - d / 10) for d in range(a.key_interval)}
pathlib.Path(a.metrics_out).write_text(json.dumps(out))
if a.render:
    pathlib.Path(a.render).mkdir(); (pathlib.Path(a.render) / 'v.mp4').write_text(a.render_videos)
"""

# Behaves like tools/analysis/speed.py: fps are ten times L.
SPEED = """
import argparse, json
p = argparse.ArgumentParser()
p.add_argument('--row', action='append'); p.add_argument('--out'); p.add_argument('--rounds')
a = p.parse_args()
rows = {}
for row in a.row:
    name, rest = row.split('=')
    l = float(rest.split(',')[3])
    rows[name] = {'fps': 10 * l, 'speed_up': l, 'spread': 0.1}
json.dump({'rows': rows, 'reference': 'frame'}, open(a.out, 'w'))
"""

EXPERIMENT = """
work_dir = 'out'
steps = [
    dict(name='dataset', command=['python', '-c',
         "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.mkdir(exist_ok=True); "
         "(p / 'n').write_text('x')", '{dataset}'], shared=True),
    dict(name='stage_one', train='one.py', needs=['dataset'],
         cfg_options={'data': '{dataset}/n'}),
    dict(name='stage_two', train='two.py',
         cfg_options={'load_parts.detector.checkpoint': '{stage_one}/last.pth'}),
]
_one = dict(config='one.py', checkpoint='{stage_one}/last.pth')
rows = [
    dict(name='frame', config='one.py', checkpoint='{stage_one}/last.pth', method='frame'),
    dict(_one, name='copy', method='copy'),
    dict(name='two-step', config='two.py', checkpoint='{stage_two}/last.pth', method='propagate'),
]
key_intervals = [5, 10]
render = dict(row='two-step', key_interval=10, videos=2)
"""

CONFIG = """
iters = 3
good = 0.8
default_hooks = dict(last_checkpoint=dict(type='LastCheckpointHook'))
"""


def make_project(folder: Path, experiment: str = EXPERIMENT, one: str = '', two: str = '') -> Path:
    """Write the project and return the path of its experiment config."""
    (folder / 'tools/analysis').mkdir(parents=True, exist_ok=True)
    (folder / 'tools/train.py').write_text(TRAIN)
    (folder / 'tools/test.py').write_text(TEST)
    (folder / 'tools/analysis/speed.py').write_text(SPEED)
    (folder / 'one.py').write_text(f'{CONFIG}{one}\n')
    (folder / 'two.py').write_text(f'{CONFIG}{two}\n')
    (folder / 'experiment.py').write_text(experiment)
    return folder / 'experiment.py'


def load(path: Path, **settings: object) -> Experiment:
    """Load an experiment config with the methods that exist."""
    return load_experiment(path, list(METHODS.module_dict), **settings)


def run_tool(*arguments: str) -> None:
    """Run tools/run_experiment.py with the tools of the project in the current folder."""
    runner.PROJECT = Path.cwd()
    call('run_experiment.py', *arguments)


def started(printed: str) -> set[str]:
    """Return the steps that were started, not continued, of an experiment's output."""
    return {line.split(':')[0] for line in printed.splitlines() if ': started' in line}


def cells(table: str) -> list[list[str]]:
    """Return the cells of each line of a printed table; lines without cells are left out."""
    lines = [line for line in table.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
