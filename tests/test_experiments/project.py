"""A small project for chain tests: real processes that train and test in a fraction of a second."""

from pathlib import Path

# Like tools/train.py to the chain: counts iterations, writes checkpoints, continues with --resume.
TRAIN = """
import argparse, pathlib, time
p = argparse.ArgumentParser()
p.add_argument('config'); p.add_argument('--work-dir')
p.add_argument('--resume', action='store_true')
p.add_argument('--cfg-options', nargs='+', default=[])
a = p.parse_args()
folder = pathlib.Path(a.work_dir); folder.mkdir(parents=True, exist_ok=True)
settings = {}; exec(open(a.config).read(), settings)
start = int((folder / 'last_checkpoint').read_text().split('_')[-1][:-4]) if a.resume else 0
for i in range(start + 1, settings['iters'] + 1):
    time.sleep(0 if a.resume else settings.get('pause', 0))
    print(f'mmengine - INFO - Iter(train) [{i:4}/{settings["iters"]}] eta: 0:00:01')
    if i == settings.get('broken'):
        raise SystemExit('loss is nan at iteration %d' % i)
    (folder / f'iter_{i}.pth').write_text(f'{start} {" ".join(a.cfg_options)}')
    (folder / 'last_checkpoint').write_text(str(folder / f'iter_{i}.pth'))
"""

# Like tools/test.py: mAP from the config's `good`, for copy half of it.
TEST = """
import argparse, json, pathlib
p = argparse.ArgumentParser()
p.add_argument('config'); p.add_argument('checkpoint'); p.add_argument('--method')
p.add_argument('--key-interval', type=int, default=1); p.add_argument('--work-dir')
p.add_argument('--metrics-out'); p.add_argument('--cfg-options', nargs='+')
p.add_argument('--render'); p.add_argument('--render-videos')
a = p.parse_args()
assert pathlib.Path(a.checkpoint).exists(), a.checkpoint
settings = {}; exec(open(a.config).read(), settings)
share = {'frame': 1.0, 'copy': 0.5, 'propagate': 0.9}[a.method]
m = settings['good'] * share
out = {'vid/mAP': m, 'vid/mAP_slow': m, 'vid/mAP_medium': m, 'vid/mAP_fast': None,
       'fps': 10.0 * (1 if a.method == 'frame' else a.key_interval)}
pathlib.Path(a.metrics_out).write_text(json.dumps(out))
if a.render:
    pathlib.Path(a.render).mkdir(); (pathlib.Path(a.render) / 'v.mp4').write_text(a.render_videos)
"""

CHAIN = """
work_dir = 'out'
steps = [
    dict(name='world', command=['python', '-c',
         "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.mkdir(exist_ok=True); "
         "(p / 'n').write_text('x')", '{world}'], minutes=0.01, shared=True),
    dict(name='stage_one', train='one.py', needs=['world'], minutes=0.01,
         cfg_options={'data': '{world}/n'}),
    dict(name='stage_two', train='two.py', minutes=0.01,
         cfg_options={'load_from': '{stage_one}/last.pth'}),
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


def make_project(folder: Path, chain: str = CHAIN, one: str = '', two: str = '') -> Path:
    """Writes the project and returns the path of its chain config."""
    (folder / 'tools').mkdir(parents=True, exist_ok=True)
    (folder / 'tools/train.py').write_text(TRAIN)
    (folder / 'tools/test.py').write_text(TEST)
    (folder / 'one.py').write_text(f'iters = 3\ngood = 0.8\n{one}\n')
    (folder / 'two.py').write_text(f'iters = 3\ngood = 0.8\n{two}\n')
    (folder / 'chain.py').write_text(chain)
    return folder / 'chain.py'
