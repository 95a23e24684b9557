"""What the tools refuse: one case for each message of their own."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.robustness.verdict import Case

LOGS = r'work|t/\.videos\.txt'  # logs of a run, and what is known of its videos
DETECTOR = ('config.py', 'two.pth')
VIDEO = ('in.mp4', *DETECTOR, '--device', 'cpu')
# Tool, arguments, and the new or existing output.
OUTPUTS = (
    ('video_demo.py', (*VIDEO, '--json')),
    ('video_demo.py', (*VIDEO, '--txt')),
    ('test.py', (*DETECTOR, '--detections')),
    ('test.py', (*DETECTOR, '--metrics-out')),
    ('analysis/complexity.py', ('config.py', '--json')),
    ('eval_detections.py', ('--ann-file', 'config.py', '--detections', 'notes.txt', '--out')),
)
# Tool, arguments, options of which each is refused, words of the message.
OPTIONS = (
    ('video_demo.py', VIDEO, '--fps 0', 'fps'),
    ('video_demo.py', VIDEO, '--max-frames 0', 'max_frames'),
    ('video_demo.py', VIDEO, '--key-interval 0', 'key-frame interval'),
    ('video_demo.py', VIDEO, '--adaptive images/val.json', r'val\.json'),
    ('video_demo.py', VIDEO, '--method frame --panels flow', 'panel'),
    ('video_demo.py', VIDEO, '--method nope', 'unknown method .nope.; choose'),
    ('test.py', DETECTOR, '--key-interval 0', 'key-frame interval'),
    ('test.py', DETECTOR, '--adaptive gone.json', r'gone\.json'),
    ('test.py', DETECTOR, '--protocol pairs --scene-cuts', 'leave out schedule'),
    ('test.py', DETECTOR, '--launcher pytorch', 'RANK'),
    ('train.py', ('train.py',), '--resume two.pth', 'no state of a training'),
    ('train.py', ('train.py',), '--resume gone.pth', 'no such checkpoint'),
    ('train.py', ('train.py',), '--cfg-options train_cfg.steps.0.trainable=[nope]', 'nope'),
    ('train.py', ('train.py',), '--cfg-options model.type=Nope', 'Nope'),
    ('train.py', ('train.py',), '--cfg-options train_dataloader.dataset.dataset.ann_file=gone.txt', r'gone\.txt'),
    ('test.py', DETECTOR, '--cfg-options test_dataloader.dataset.ann_file=gone.json', r'gone\.json'),
    ('test.py', DETECTOR, '--cfg-options model.detector.bbox_head.num_classes=7', r'two\.pth: does not fit'),
    ('analysis/fit_adaptive.py', (*DETECTOR, '--out', 'a.json', '--device', 'cpu'), '--videos gone.txt', r'gone\.txt'),
    ('analysis/show_propagation.py',
     (*DETECTOR, 'in.mp4', '--current', '1', '--out', 'p.png', '--device', 'cpu'), '--key 99', '99'),
    ('make_synthetic.py', ('s',), '--width 0', 'width'),
    ('run_experiment.py', ('exp.py', '--work-dir', 'o'), '--only nope', 'nope'),
)  # fmt: skip
USAGE = (
    ('test.py', DETECTOR, '--cfg-options x'),
    ('test.py', DETECTOR, '--protocol x'),
    ('test.py', DETECTOR, '--render-videos 3'),
)  # fmt: skip
FILES = (
    ('test.py', ('gone.py', 'two.pth'), r'gone\.py: there is no such config'),
    ('test.py', ('notes.txt', 'two.pth'), r'notes\.txt'),
    ('test.py', ('config.py', 'gone.pth'), r'gone\.pth: there is no such checkpoint'),
    ('test.py', ('config.py', 'notes.txt'), r'notes\.txt: cannot be read as a checkpoint'),
    ('video_demo.py', ('gone.mp4', *DETECTOR), r'gone\.mp4'),
    ('video_demo.py', ('notes.txt', *DETECTOR), r'notes\.txt'),
    ('video_demo.py', ('in.mp4', 'config.py'), 'needs a checkpoint'),
    ('run_experiment.py', ('gone.py',), r'gone\.py'),
)
IMAGES = {
    'missing': lambda image: image.unlink(),
    'cut': lambda image: image.write_bytes(image.read_bytes()[:99]),
}
CONFIGS = {
    'syntax': 'model = (',
    'exception': '1 / 0',
    'exit': 'raise SystemExit(0)',
    'empty': '',
    'import': "custom_imports = dict(imports=['nothing_of_this_name'])",
    'no base': "_base_ = 'gone.py'",
}


def cases() -> Iterator[Case]:
    """Yield the cases; all are run in a copy of the project."""
    for tool, arguments in OUTPUTS:
        make = partial(Case, tool=tool, code=2)
        yield make(
            f'{tool}: existing', arguments=(*arguments, 'mine/key.onnx'), words='exists already'
        )
        own = (*arguments, 'sub/../config.py', '--overwrite')
        yield make(f'{tool}: input', arguments=own, words='would overwrite the input')
    own = (*VIDEO, '--json', 'o', '--txt', './o')
    yield Case('two outputs', 'video_demo.py', own, 'would overwrite the output', code=2)
    yield Case(
        'an mp4', 'video_demo.py', (*VIDEO, '--out', 'link.mp4'), 'would overwrite the input'
    )
    for tool, arguments, option, words in OPTIONS:
        own = (*arguments, *option.split(' '))
        yield Case(f'{tool} {option}', tool, own, words, writes=LOGS)
    for tool, arguments, option in USAGE:
        own = (*arguments, *option.split(' '))
        yield Case(f'{tool} {option}', tool, own, 'usage: .* error: ', code=2)
    for tool, arguments, words in FILES:
        yield Case(f'{tool} {arguments}', tool, arguments, words, writes=LOGS)
    for name, spoil in IMAGES.items():
        make = partial(_spoil, spoil)
        yield Case(f'image {name}', 'test.py', DETECTOR, r'v0_001\.png', make, LOGS)
    for name, text in CONFIGS.items():
        make = partial(_write, text)
        yield Case(f'config: {name}', 'train.py', ('c.py',), r'c\.py', make, LOGS)


def _spoil(spoil, folder: Path) -> None:
    spoil(folder / 'images/v0_001.png')


def _write(text: str, folder: Path) -> None:
    (folder / 'c.py').write_text(text)
