"""DFF Figure 3 on ImageNet VID: mAP over speed with two feature networks and three flow networks; one seed.

python tools/run_experiment.py configs/imagenet/figure3.py --jobs 4

Trainings and data as in tables.py.
"""

_base_ = ['./tables.py']

work_dir = 'work_dirs/figure3'

_labeled = _base_._labeled
_networks = {
    '_imagenet-det-vid': 'flownet-s',
    '_flownet-half': 'flownet-half',
    '_flownet-inception': 'flownet-inception',
}
_pairs = [(depth, suffix, flow) for depth in (50, 101) for suffix, flow in _networks.items()]


def _frame(depth):
    """Return the config of a detector of single frames."""
    return f'configs/rfcn/rfcn_r{depth}_imagenet-det-vid.py'


steps = [
    *(
        dict(name=flow, train=f'configs/flow/{flow}_flying-chairs.py', shared=True)
        for flow in _networks.values()
    ),
    *(dict(name=f'frame-r{d}', train=_frame(d), cfg_options=_labeled) for d in (50, 101)),
    *(
        dict(
            name=f'r{depth}_{flow}',
            train=f'configs/dff/dff_r{depth}{suffix}.py',
            cfg_options={**_labeled, 'load_parts.flow.checkpoint': f'{{{flow}}}/last.pth'},
        )
        for depth, suffix, flow in _pairs
    ),
]
rows = [
    *(
        dict(
            name=f'frame-r{d}',
            group=f'r{d}',
            config=_frame(d),
            checkpoint=f'{{frame-r{d}}}/last.pth',
            method='frame',
        )
        for d in (50, 101)
    ),
    *(
        dict(
            name=f'r{depth}_{flow}',
            group=f'r{depth}',
            config=f'configs/dff/dff_r{depth}{suffix}.py',
            checkpoint=f'{{r{depth}_{flow}}}/last.pth',
            method='propagate',
        )
        for depth, suffix, flow in _pairs
    ),
]
key_intervals = [1, 2, 3, 5, 8, 10, 15, 20]
seeds = 0
report = 'curve'
