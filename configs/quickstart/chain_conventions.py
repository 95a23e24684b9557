"""Which conventions learn the better detector: stage one with mmdet's, the original's and two poolings, five seeds.

python tools/chain.py configs/quickstart/chain_conventions.py
"""

_base_ = ['./chain.py']

work_dir = 'work_dirs/quickstart_conventions'

_configs = {
    name: f'configs/quickstart/rfcn_{name}_world.py'
    for name in ('mmdet-conventions', 'original-conventions', 'rounded-pooling')
}
steps = [
    *_base_.steps[:2],
    *[dict(name=name, train=config, minutes=4) for name, config in _configs.items()],
]
rows = [
    dict(name=f'{name}-frame', config=config, checkpoint=f'{{{name}}}/last.pth', method='frame')
    for name, config in _configs.items()
]
seeds = [0, 1, 2, 3, 4]
render = None
