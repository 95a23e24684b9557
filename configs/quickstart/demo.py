"""The main use of the project: train an image detector on labeled stills, then adapt it to unlabeled videos.

The videos are larger than the stills, and their objects are about as fast as ImageNet VID's: 31 % slow, 43 % medium and
26 % fast boxes in place of 38, 36 and 26 %.

python tools/run_experiment.py configs/quickstart/demo.py
"""

work_dir = 'work_dirs/demo'

_videos = ['--height', '288', '--width', '384', '--motion', '0.4', '--eval-length', '61']
_without = {
    'dataset': ['videos', 'train', 'val', 'dev', 'flow'],
    'footage': ['stills', 'train', 'dev', 'flow', 'crops'],
}
_omitted = {
    name: [word for part in parts for word in (f'--{part}', '0')]
    for name, parts in _without.items()
}
steps = [
    dict(name='dataset', command=['tools/make_synthetic.py', '{dataset}', *_omitted['dataset']]),
    dict(
        name='footage',
        command=['tools/make_synthetic.py', '{footage}', *_videos, *_omitted['footage']],
    ),
    dict(name='backbone', train='configs/quickstart/crops_synthetic.py', needs=['dataset']),
    dict(
        name='stage_one',
        train='configs/quickstart/rfcn_synthetic.py',
        needs=['backbone'],
        alone=True,
    ),
    dict(
        name='adapted',
        command=[
            'tools/adapt.py',
            'configs/quickstart/rfcn_synthetic.py',
            '{stage_one}/last.pth',
            '{footage}/videos',
            '--out',
            '{adapted}',
            '--labels',
            '{footage}/val.json',
            '--minutes',
            '12',
        ],
        alone=True,
    ),
]
