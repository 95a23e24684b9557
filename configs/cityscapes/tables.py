"""DFF Tables 4 and 5 on Cityscapes, the paper's mIoU beside ours; three seeds.

python tools/run_experiment.py configs/cityscapes/tables.py --jobs 4

Each job has a GPU of its own and accumulates the gradients of 8 images on it. With docs/segmentation.md's layout of the
data, and Flying Chairs as docs/flow.md says.
"""

_base_ = ['../_base_/tables.py']

work_dir = 'work_dirs/cityscapes_tables'

_options = {
    'train_cfg.type': 'AccumulatingLoop',
    'train_cfg.accumulate': 8,
    'train_dataloader.batch_size': 8,
}
_flow = {'load_parts.flow.checkpoint': '{flow}/last.pth'}
_network = {'load_parts.network.checkpoint': '{frame}/last.pth'}
_paper = {
    'dff': {'dff-4': 69.2, 'dff-5': 69.2},
    'dff-fix-n': {'dff-4': 68.8},
    'dff-fix-f': {'dff-4': 67.0},
    'dff-no-scale': {'dff-4': None},
    'dff-split21': {'dff-5': 69.1},
    'dff-split12': {'dff-5': 69.1},
    'dff-split5': {'dff-5': 69.2},
    'dff-split0': {'dff-5': 69.5},
}


def _config(name):
    """Return the config of a row."""
    kind, _, variant = name.partition('-')
    return f'configs/cityscapes/{kind}_r101{variant and "_" + variant}_cityscapes.py'


steps = [
    dict(name='flow', train='configs/flow/flownet-s_flying-chairs.py', shared=True),
    dict(name='frame', train=_config('fcn'), cfg_options=_options),
    *(
        dict(
            name=name,
            train=_config(name),
            cfg_options={**_options, **_flow, **(_network if name == 'dff-fix-n' else {})},
        )
        for name in _paper
    ),
    dict(
        name='dff-separate',
        command=[
            *_base_._join,
            'spatial.detector={frame}/last.pth',
            '--part',
            'temporal={flow}/last.pth:temporal',
            '--out',
            '{dff-separate}/last.pth',
        ],
    ),
]


def _row(name, config, checkpoint, method, tables):
    """Return a row with the paper's mIoU."""
    return dict(
        name=name,
        config=config,
        checkpoint=f'{{{checkpoint}}}/last.pth',
        method=method,
        tables=tables,
    )


rows = [
    _row('frame', _config('fcn'), 'frame', 'frame', {'dff-4': 71.1}),
    _row('copy', _config('fcn'), 'frame', 'copy', {'dff-4': None}),
    _row('sff-slow', _config('fcn'), 'frame', 'sff-slow', {'dff-4': 67.8}),
    _row('sff-fast', _config('fcn'), 'frame', 'sff-fast', {'dff-4': 67.3}),
    *(_row(name, _config(name), name, 'propagate', tables) for name, tables in _paper.items()),
    _row('dff-separate', _config('dff'), 'dff-separate', 'propagate', {'dff-4': 66.9}),
]
key_intervals = [5]
seeds = [0, 1, 2]
