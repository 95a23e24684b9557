"""Which conventions learn the better detector, mmdet's or the original's: stage one with both, three seeds.

python tools/chain.py configs/quickstart/chain_conventions.py
"""

_base_ = ['./chain.py']

work_dir = 'work_dirs/quickstart_conventions'

_names = ('mmdet', 'original')
steps = [
    *_base_.steps[:2],
    *[
        dict(name=name, train=f'configs/quickstart/rfcn_{name}-conventions_world.py', minutes=4)
        for name in _names
    ],
]
rows = [
    dict(
        name=f'{name}-frame',
        config=f'configs/quickstart/rfcn_{name}-conventions_world.py',
        checkpoint=f'{{{name}}}/last.pth',
        method='frame',
    )
    for name in _names
]
seeds = [0, 1, 2]
render = None
