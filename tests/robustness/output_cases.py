"""Outputs that would destroy inputs, each other or files of the user, for every tool and option."""

from collections.abc import Iterator

from tests.robustness.verdict import Case

REFUSED = (
    r'would overwrite|would be overwritten|exists already|pipe|is a folder|is a file|not a folder|only \.mp4|UTF-8|'
    r'null byte|is empty|not generated|is read by this training'
)
DETECTOR = ('config.py', 'two.pth')
CPU = ('--device', 'cpu')
ROW = ('--row', 'a=config.py,two.pth,frame,1', '--rounds', '1', *CPU)
FIT = ('analysis/fit_adaptive.py', (*DETECTOR, '--videos', 'videos.txt', '--clips', '2', '--clip-length', '6',
       '--max-interval', '3', *CPU))  # fmt: skip
VIDEO = ('in.mp4', *DETECTOR, *CPU)
# Tool, its other arguments, the option of the output, what it reads.
OPTIONS = (
    ('video_demo.py', VIDEO, '--out', ('in.mp4', 'config.py', 'two.pth', 'images/val.json')),
    ('video_demo.py', VIDEO, '--json', ('in.mp4', 'config.py', 'two.pth', 'images/val.json')),
    ('video_demo.py', VIDEO, '--txt', ('in.mp4', 'config.py', 'two.pth', 'images/val.json')),
    ('video_demo.py', ('frames', *VIDEO[1:]), '--json', ('frames/000.png', 'frames/002.png')),
    ('test.py', DETECTOR, '--detections', ('config.py', 'two.pth', 'images/val.json', 'images/v0_000.png')),
    ('test.py', DETECTOR, '--metrics-out', ('config.py', 'two.pth', 'images/val.json', 'images/v0_000.png')),
    ('test.py', (*DETECTOR, '--adaptive', 'package.json'), '--detections', ('package.json',)),
    (*FIT, '--out', ('config.py', 'two.pth', 'videos.txt', 'in.mp4', 'frames/000.png')),
    ('analysis/show_propagation.py', (*DETECTOR, 'in.mp4', '--key', '0', '--current', '1', *CPU), '--out',
     ('in.mp4', 'config.py', 'two.pth')),
    ('analysis/show_propagation.py', (*DETECTOR, 'frames', '--key', '0', '--current', '1', *CPU), '--out',
     ('frames/000.png',)),
    ('analysis/speed.py', (*DETECTOR, '--video', 'in.mp4', *CPU), '--out', ('config.py', 'two.pth', 'in.mp4')),
    ('analysis/speed.py', (*DETECTOR, '--video', 'in.mp4', *CPU), '--markdown',
     ('config.py', 'two.pth', 'in.mp4')),
    ('analysis/complexity.py', ('config.py', '--size', '64', '96', *CPU), '--json', ('config.py', 'images/val.json')),
    ('analysis/speed.py', (*ROW, '--video', 'in.mp4'), '--out',
     ('config.py', 'two.pth', 'in.mp4', 'images/val.json')),
    ('convert_checkpoint.py', ('join', '--part', 'x=two.pth'), '--out', ('two.pth',)),
    ('eval_detections.py', ('--ann-file', 'images/val.json', '--detections', 'notes.txt'), '--out',
     ('images/val.json', 'notes.txt')),
)  # fmt: skip
FOLDERS = (
    ('test.py', DETECTOR, '--render'),
    ('test.py', DETECTOR, '--work-dir'),
    ('train.py', ('train.py',), '--work-dir'),
    ('export_onnx.py', (*DETECTOR, '--shape', '64', '96'), '--out'),
    ('analysis/operating_points.py', (*DETECTOR, '--videos', 'in.mp4', *CPU), '--out'),
    ('make_synthetic.py', (), ''),
)


def cases() -> Iterator[Case]:
    """Yield the cases; all are run in a copy of the project."""
    for tool, arguments, option, inputs in OPTIONS:
        own = (*arguments, option)
        for path in inputs:
            yield Case(f'{option} {path} --overwrite', tool, (*own, path, '--overwrite'), REFUSED)
        for path in (*inputs[:2], f'sub/../{inputs[0]}', 'notes.txt', 'package.json', 'pipe',
                     'mine/last.pth', 'two.pth/x.json', 'bad\udcff.json', 'a\0.json', ''):  # fmt: skip
            yield Case(f'{option} {path!r}', tool, (*own, path), REFUSED)
        if option != '--out' or tool != 'video_demo.py':
            yield Case(f'{option} frames', tool, (*own, 'frames', '--overwrite'), REFUSED)
    for tool, arguments, option in FOLDERS:
        for path in ('two.pth', 'mine', 'package.json/x', 'pipe'):
            own = (*arguments, *filter(None, [option]), path)
            yield Case(f'{option} {path}', tool, own, REFUSED, writes='work')
    for link in ('link.mp4', 'hard.mp4'):
        for option in ('--out', '--json', '--txt'):
            own = (*VIDEO, option, link, '--overwrite')
            yield Case(f'{option} {link}', 'video_demo.py', own, REFUSED)
    for first, second in (('--json', '--txt'), ('--out', '--txt'), ('--out', '--json')):
        for other in ('o.mp4', './o.mp4', 'sub/../o.mp4'):
            own = (*VIDEO, first, 'o.mp4', second, other)
            yield Case(f'{first} o.mp4 {second} {other}', 'video_demo.py', own, REFUSED)
    test = (*DETECTOR, '--detections', 'o.txt', '--metrics-out', 'o.txt')
    yield Case('two outputs of test.py', 'test.py', test, REFUSED)
    own = (*DETECTOR, '--out', 'o.x', '--markdown', './o.x', *CPU)
    yield Case('two outputs of speed.py', 'analysis/speed.py', own, REFUSED)
    train = ('train.py', '--work-dir', 'w', '--cfg-options')
    yield Case('load_from in the work folder', 'train.py', (*train, 'load_from=w/iter_1.pth'), REFUSED,
               lambda folder: [(folder / 'w').mkdir(), (folder / 'w/.run.lock').touch(),
                               (folder / 'two.pth').rename(folder / 'w/iter_1.pth')])  # fmt: skip
    yield Case('a step in the work folder', 'train.py',
               (*train, 'load_parts.detector.checkpoint=w/semantic.pth', 'load_parts.detector.part=spatial.detector'),
               REFUSED, lambda folder: [(folder / 'w').mkdir(), (folder / 'w/.run.lock').touch(),
                                        (folder / 'two.pth').rename(folder / 'w/semantic.pth')])  # fmt: skip
