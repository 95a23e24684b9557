"""Impossible settings: of configs, and of the options of every tool."""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from tests.damaged_video import huge_png
from tests.robustness.verdict import Case

CPU = ('--device', 'cpu')
DETECTOR = ('config.py', 'two.pth')
VIDEO = ('in.mp4', *DETECTOR, '--out', 'o.mp4', '--json', 'o.json', *CPU)
LOGS = 'work'  # a run may write its log before it is refused

# Settings of both kinds of configs, and what the message names.
OF_ALL = {
    'model': (3, "'text'", '[1]'), 'model.type': ('Nope', 3), 'model.detector': (3, 'None', 'nope.py'),
    'model.detector.type': ('Nope',), 'model.detectr': (3,), 'model.data_preprocessor': (3,),
    'model.data_preprocessor.std': ('[0,0,0]', '[-1,1,1]', '0', '[nan,1,1]', 'x'),
    'model.data_preprocessor.mean': ('[nan,0,0]', '[inf,0,0]', 'x'),
    'model.data_preprocessor.pad_size_divisor': (0, -32, 'x', 1.5),
    'model.temporal': (3, 'x'), 'model.temporal.type': ('Nope',), 'model.temporal.nope': (1,),
    'model.temporal.flow_network.type': ('Nope',), 'model.temporal.flow_network.width': (0, -1, 'nan', 'x'),
    'model.temporal.flow_network.flow_scale': (0, -1, 'nan', 'inf', 'x'),
    'model.temporal.feat_channels': (3, 'x'), 'model.detector.backbone.depth': (19, 'x'),
    'default_hooks': (3,), 'default_hooks.logger.interval': (0,), 'default_hooks.logger.type': ('Nope',),
    'custom_hooks': (3, '[3]'), 'visualizer': (3,), 'log_processor': (3,), 'randomness': (3,),
    'randomness.seed': ('x', 1.5), 'env_cfg': (3,), 'custom_imports': (3,), 'load_from': (3,), 'work_dir': (3,),
    'resume': ('maybe', 3), 'experiment_name': (3,), 'default_scope': (3,),
    'a.b': (3,), 'mdel.type': (3,), '': (3,),
}  # fmt: skip
OF_TRAINING = {
    'train_cfg': (3, '[]'), 'train_cfg.type': ('Nope',), 'train_cfg.max_iters': (0, -1, 'x', 1.5),
    'train_cfg.steps': (3, '[]', '[3]', 'x'), 'train_dataloader': (3,), 'train_dataloader.dataset': (3,),
    'train_dataloader.batch_size': (0, -3, 'x', 1.5), 'train_dataloader.num_workers': (-1, 'x'),
    'train_dataloader.sampler.type': ('Nope',), 'train_dataloader.dataset.dataset': (3,),
    'train_dataloader.dataset.dataset.window': (0, -5, 'x'),
    'train_dataloader.dataset.dataset.pairs_per_window': (0, -1),
    'train_dataloader.dataset.dataset.interleave': (0, -1),
    'train_dataloader.dataset.dataset.interval.high': (-1, 'x'),
    'train_dataloader.dataset.dataset.interval.type': ('Nope',),
    'train_dataloader.dataset.dataset.ann_file': ('gone.txt', 'in.mp4', 'pipe', 'frames', 'two.pth'),
    'train_dataloader.dataset.dataset.pipeline': ('[]', 3, '[3]'),
    'optim_wrapper': (3,), 'optim_wrapper.type': ('Nope',), 'optim_wrapper.optimizer.type': ('Nope',),
    'optim_wrapper.optimizer.lr': ('nan', 'inf', -1, 'x', 'None'), 'optim_wrapper.optimizer.nope': (1,),
    'param_scheduler': (3,), 'load_parts': (3,), 'load_parts.a': (3,), 'load_parts.a.checkpoint': ('two.pth',),
    'load_from': ('gone.pth', 'in.mp4', 'frames', 'config.py'), 'model.temporal': ('None',),
    'default_hooks.checkpoint.interval': ('x',), 'default_hooks.checkpoint.max_keep_ckpts': ('x',),
    'model.temporal.feat_strides': ('[8,16]', '[8]', '[0]', '[33]'),
}  # fmt: skip
OF_TESTS = {
    'test_cfg': (3,), 'test_cfg.type': ('Nope',), 'test_cfg.method': ('Nope', 3), 'test_cfg.nope': (3,),
    'test_cfg.key_interval': (0, -3, 'x', 1.5), 'test_cfg.warmup': (-1, 'x'), 'test_cfg.protocol': ('x',),
    'test_cfg.schedule': ('x',), 'test_cfg.fp16': ('x',), 'test_evaluator': (3, '[]'),
    'test_evaluator.0.type': ('Nope',), 'test_evaluator.0.nope': (3,),
    'test_evaluator.0.ann_file': ('gone.json', 3, 'in.mp4', 'two.pth', 'package.json', 'frames'),
    'test_dataloader': (3,), 'test_dataloader.batch_size': (0, 2, 'x'), 'test_dataloader.num_workers': (-1,),
    'test_dataloader.sampler.type': ('Nope', 'DefaultSampler'), 'test_dataloader.dataset': (3,),
    'test_dataloader.dataset.type': ('Nope',),
    'test_dataloader.dataset.ann_file': ('gone.json', 3, 'in.mp4', 'two.pth', 'package.json', 'frames'),
    'test_dataloader.dataset.data_prefix': (3,), 'test_dataloader.dataset.data_prefix.img': ('gone', 't'),
    'test_dataloader.dataset.pipeline': ('[]', 3, '[3]'), 'test_dataloader.dataset.pipeline.0.type': ('Nope',),
    'test_dataloader.dataset.pipeline.2.scale': ('(0,0)', '(-5,5)', '(100000,100000)', 'x', '(nan,5)'),
    'test_dataloader.dataset.metainfo.classes': ('[a,b]', '[square,disc]', '[disc]', 'disc', '[]', '[disc,square,x]'),
    'model.detector.bbox_head.num_classes': (0, -1, 1, 7, 'x', 1.5),
    'model.detector.test_cfg.score_thr': ('nan', 'x'), 'model.detector.test_cfg.max_per_img': (-5, 'x'),
    'model.detector.test_cfg.nms': (3,), 'model.detector.test_cfg.nms.iou_threshold': (-1, 2, 'x'),
    'model.temporal.feat_strides': ('[8,16]', '[4,8,16]', '[8,16,33]', '[0,0,0]', '[16,32,64]'),
}  # fmt: skip
# Options of tools; the exit code is 2 where argparse refuses them.
OPTIONS = (
    ('video_demo.py', VIDEO, (
        '--fps inf', '--fps nan', '--fps 0', '--fps -3', '--max-frames 0', '--max-frames -1', '--key-interval 0',
        '--key-interval -2', '--read-ahead -1', '--read-ahead 1000000', '--adaptive images/val.json',
        '--adaptive gone.json', '--adaptive in.mp4', '--adaptive pipe', '--method frame --panels flow',
        '--method copy --panels scale', '--method interpolate --panels flow')),
    ('test.py', DETECTOR, (
        '--key-interval 0', '--key-interval -5', '--render r --render-fps inf', '--render r --render-fps nan',
        '--render r --render-fps 0', '--render r --render-videos -1', '--render r --render-videos 0',
        '--render-videos 3', '--render-fps 25',
        '--adaptive images/val.json', '--adaptive gone.json', '--adaptive two.pth',
        '--protocol pairs --method interpolate', '--protocol pairs --render r', '--protocol pairs --scene-cuts',
        '--launcher pytorch', '--launcher slurm', '--launcher mpi')),
    ('train.py', ('train.py',), (
        '--seed -1', '--accumulate 0', '--accumulate -3', '--resume two.pth', '--resume gone.pth', '--resume in.mp4',
        '--resume frames', '--resume pipe', '--launcher pytorch')),
    ('analysis/fit_adaptive.py', (*DETECTOR, '--out', 'a.json', '--videos', 'videos.txt', *CPU), (
        '--clips 0', '--clips -1', '--clip-length 1', '--clip-length -1', '--max-interval 0', '--max-interval -2',
        '--videos in.mp4', '--videos gone.txt', '--videos pipe', '--videos frames', '--videos notes.txt')),
    ('analysis/show_propagation.py', (*DETECTOR, 'in.mp4', '--key', '0', '--current', '1', '--out', 'p.png', *CPU), (
        '--key -1', '--key 99', '--current 99', '--current -1', '--level 9', '--level -9', '--out p.xyz')),
    ('analysis/speed.py', (*DETECTOR, '--shape', '64', '96', '--key-interval', '2', *CPU), (
        '--rounds 0', '--key-interval 0', '--key-interval -1', '--video gone.mp4', '--video pipe',
        '--video config.py', '--video notes.txt', '--threads -1')),
    ('analysis/complexity.py', ('config.py', '--size', '64', '96', *CPU), (
        '--key-intervals 0', '--key-intervals 5 -1', '--flow-networks --rounds 0',
        '--flow-networks --rounds -3')),
    ('analysis/speed.py', ('--row', 'a=config.py,two.pth,frame,1', '--out', 'o.json', *CPU), (
        '--rounds 0', '--rounds -1', '--row x', '--row =config.py,two.pth,frame,1', '--row a=config.py,two.pth,frame,1',
        '--row b=config.py,two.pth,nope,1', '--row b=config.py,two.pth,propagate,0',
        '--row b=config.py,two.pth,propagate,x', '--row b=gone.py,two.pth,propagate,2',
        '--row b=config.py,gone.pth,propagate,2', '--row b=config.py,pipe,propagate,2', '--video gone',
        '--video pipe', '--row b=in.mp4,two.pth,propagate,2', '--row b=config.py,in.mp4,propagate,2',
        '--row b=config.py,two.pth', '--row b=,,,')),
    ('export_onnx.py', (*DETECTOR, '--out', 'o'), (
        '--frames 1', '--frames 0', '--frames -1', '--video gone.mp4', '--video config.py', '--video pipe')),
    ('run_experiment.py', ('--run', 'a=config.py,two.pth', '--work-dir', 'o'), (
        '--key-intervals 0', '--run x', '--run a=gone.py,two.pth', '--run b=config.py,gone.pth',
        '--run b=config.py,two.pth,nope', '--run a=config.py,two.pth', '--run b=in.mp4,two.pth',
        '--distances --run b=config.py,two.pth,coast')),
    ('run_experiment.py', ('exp.py', '--work-dir', 'o'), (
        '--only nope', '--jobs 0', '--jobs -1', '--list --cfg-options key_intervals=[0]',
        '--list --cfg-options nope=3', '--list --cfg-options seeds=x')),
    ('make_synthetic.py', ('s',), (
        '--width 0', '--width -5', '--height 97', '--train -1')),
    ('eval_detections.py', ('--ann-file', 'images/val.json', '--detections', 'd.txt', '--out', 'o.json'), (
        '--ann-file gone.json', '--ann-file pipe', '--ann-file in.mp4', '--ann-file frames', '--detections gone.txt',
        '--detections frames', '--detections in.mp4', '--ann-file package.json')),
)  # fmt: skip
USAGE = (
    ('video_demo.py', VIDEO, (
        '--fps x', '--score-thr nan', '--score-thr inf', '--score-thr 30', '--score-thr x', '--max-frames x',
        '--device nope', '--device cuda:77', '--device meta', '--method nope', '--precision int8', '--panels nope')),
    ('test.py', DETECTOR, ('--cfg-options x', '--cfg-options a b', '--local_rank x', '--launcher nope', '--method x',
                           '--cfg-options a=(1,2', '--protocol x')),
    ('train.py', ('train.py',), ('--cfg-options x', '--seed x', '--accumulate x')),
    ('analysis/speed.py', (*DETECTOR, *CPU), ('--shape 0 9', '--shape -5 9', '--shape x 9', '--device nope')),
    ('analysis/complexity.py', ('config.py', *CPU), ('--size 0 96', '--size -1 96')),
    ('export_onnx.py', (*DETECTOR, '--out', 'o'), ('--shape 0 96', '--shape -5 96')),
    ('eval_detections.py', ('--ann-file', 'images/val.json', '--detections', 'd.txt', '--out', 'o.json'), (
        '--min-score nan', '--min-score x', '--mean x')),
    ('make_synthetic.py', ('s',), ('--preset x', '--nope 3', '--workers 0')),
    ('convert_checkpoint.py', ('join', '--out', 'o.pth'), ('--part x', '--part =two.pth', '--part x=')),
)  # fmt: skip
FILES = ('gone', 'in.mp4', 'two.pth', 'frames', 'pipe', 'package.json', 'notes.txt')
METAS = {
    'a list': [1], 'a text': 'x', 'data set': dict(dataset_meta=[1]), 'classes': dict(dataset_meta=dict(classes=3)),
    'no names': dict(dataset_meta=dict(classes=[1, None])), 'old classes': dict(CLASSES=3),
}  # fmt: skip
STORED = {
    'code': 'import os\nos.mkdir("touched")', 'a call': 'a = __import__("os").mkdir("touched")',
    'a lambda': 'a = lambda: 1', 'a format': 'a = f"{1}"', 'no text': 3, 'bytes': b'a = 1',
    'a type': "model = dict(type='os.mkdir')",
    'a file': "model = dict(type='VideoDetector', detector='config.py')", 'nesting': '(' * 9999, 'null': '\0',
    'attribute': 'a = ().__class__', 'comprehension': 'a = [x for x in (1,)]', 'base': "_base_ = 'config.py'",
}  # fmt: skip
PICTURE = 'images/v0_001.png'


def _pipe(folder: Path) -> None:
    (folder / PICTURE).unlink()
    os.mkfifo(folder / PICTURE)


IMAGES = {
    'pipe': _pipe,
    'missing': lambda folder: (folder / PICTURE).unlink(),
    'huge': lambda folder: (folder / PICTURE).write_bytes(huge_png()),
    'cut': lambda folder: (folder / PICTURE).write_bytes((folder / PICTURE).read_bytes()[:99]),
    'text': lambda folder: (folder / PICTURE).write_text('x'),
    'empty': lambda folder: (folder / PICTURE).write_bytes(b''),
    'folder': lambda folder: [(folder / PICTURE).unlink(), (folder / PICTURE).mkdir()],
}
CONFIGS = {
    'syntax': 'model = (', 'exception': '1 / 0', 'exit': 'raise SystemExit(0)', 'empty': '', 'null bytes': '\0\0',
    'import': 'import nothing_of_this_name', 'no base': "_base_ = 'gone.py'", 'cycle': "_base_ = 'c.py'",
    'imports': "custom_imports = dict(imports=['nothing_of_this_name'])\nmodel = dict(type='A')",
    'model': 'model = 3', 'no type': 'model = dict(a=1)',
}  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield the cases; all are run in a copy of the project."""
    test = partial(Case, tool='test.py', writes=LOGS)
    train = partial(Case, tool='train.py', writes=LOGS)
    for make, config, settings in (
        (train, ('train.py',), OF_ALL | OF_TRAINING),
        (test, DETECTOR, OF_ALL | OF_TESTS),
    ):
        for key, values in settings.items():
            for value in values:
                option = f'{key}={value}'
                words = _words(key, value)
                yield make(f'{option}', arguments=(*config, '--cfg-options', option), words=words)
    for options, code, words in ((OPTIONS, 1, '.'), (USAGE, 2, 'usage: .* error: ')):
        for tool, arguments, variants in options:
            for text in variants:
                own = (*arguments, *text.split(' '))
                option, value = text.split(' ')[-2:]
                name = option.strip('-').replace('-', '[-_ ]').rstrip('s')
                value = '|'.join(
                    map(re.escape, re.split('[,=.]', value))
                )  # of a row, one of its parts
                expected = words if code == 2 else rf'(?i){name}|(?<![-\w])({value})(?![-\w])'
                yield Case(f'{tool} {text}', tool, own, expected, _detections, LOGS, code)
    for name in FILES:
        words = f'{name}|not a config|no such|no config'
        for tool, before, after in (
            ('test.py', (), ('two.pth',)), ('train.py', (), ()), ('video_demo.py', ('in.mp4',), ('two.pth',)),
            ('analysis/complexity.py', (), ()), ('run_experiment.py', (), ('--list',)),
        ):  # fmt: skip
            yield Case(f'{tool}: config {name}', tool, (*before, name, *after), words, writes=LOGS)
        if name != 'two.pth':
            yield Case(f'weights {name}', 'test.py', ('config.py', name), words, writes=LOGS)
            yield Case(f'weights {name}', 'video_demo.py', ('in.mp4', 'config.py', name), words)
        if name not in ('in.mp4', 'frames'):
            yield Case(f'video {name}', 'video_demo.py', (name, *DETECTOR), words)
    for name, make in IMAGES.items():
        yield test(f'image {name}', arguments=DETECTOR, words=r'images/v0_001\.png', make=make)
    for name, meta in METAS.items():
        make = partial(_checkpoint, meta)
        own = ('in.mp4', 'config.py', 'w.pth')
        yield Case(f'meta with {name}', 'video_demo.py', own, r'w\.pth: ', make)
        own = ('config.py', 'w.pth', '--out', 'o', '--shape', '64', '96')
        yield Case(f'meta with {name}', 'export_onnx.py', own, r'w\.pth: ', make)
    for name, text in CONFIGS.items():
        make = partial(_config, text)
        for tool, before, after in (
            ('test.py', (), ('two.pth',)),
            ('train.py', (), ()),
            ('video_demo.py', ('in.mp4',), ('two.pth',)),
        ):
            own = (*before, 'c.py', *after)
            yield Case(f'{tool}: config with {name}', tool, own, r'c\.py|model is 3', make, LOGS)


def _words(key: str, value: object) -> str:
    """The message has the key, or its last parts, or the value."""
    if not key:
        return "has no setting ''"
    parts = [key, *key.split('.')[-2:], str(value).strip("'[]")]
    words = (re.escape(part).replace('_', '[-_ a-z]+') for part in parts if part.strip('0'))
    return '|'.join(rf'(?<!\w){word}(?!\w)' for word in words)


def _checkpoint(meta: object, folder: Path) -> None:
    state = torch.load(folder / 'two.pth')['state_dict']
    torch.save(dict(state_dict=state, meta=meta), folder / 'w.pth')


def _config(text: str, folder: Path) -> None:
    (folder / 'c.py').write_text(text)


def _detections(folder: Path) -> None:
    (folder / 'd.txt').write_text('')
