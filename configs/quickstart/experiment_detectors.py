"""Both stages and the evaluation of six detectors on generated data, three seeds.

python tools/run_experiment.py configs/quickstart/experiment_detectors.py
"""

work_dir = 'work_dirs/quickstart_detectors'

_folder = 'configs/quickstart/detectors'
_backbones = ('r18', 'cspnext', 'cspdarknet')
# Config of stage two, backbone and flow network of each detector.
_detectors = {
    'retinanet': ('retinanet_two-step', 'r18', 'flow'),
    'atss': ('atss_two-step', 'r18', 'flow'),
    'rtmdet': ('rtmdet_two-step', 'cspnext', 'flow_quarter'),
    'yolox': ('yolox_two-step', 'cspdarknet', 'flow_quarter'),
    'faster-rcnn': ('faster-rcnn_two-step', 'r18', 'flow'),
    'dino': ('dino_reg', 'r18', 'flow'),
}


def _train(name, needs, folder=_folder, file=None, shared=True):
    """Return a training."""
    config = f'{folder}/{file or name}_synthetic.py'
    return dict(name=name, train=config, needs=needs, shared=shared)


steps = [
    dict(
        name='dataset',
        command=[
            'tools/make_synthetic.py',
            '{dataset}',
            '--preset',
            'quickstart',
            # With the preset's 120, the semantic loss on other videos is three times that on these.
            '--videos',
            '400',
            '--workers',
            '2',
        ],
        shared=True,
    ),
    # Flow networks, trained without labels, from which stage two of the detectors starts.
    _train('backbone', ['dataset'], 'configs/quickstart', 'crops'),
    _train('rfcn', ['backbone'], 'configs/quickstart'),
    _train('flow', ['rfcn']),
    _train('flow_quarter', ['rfcn']),
    *(_train(f'backbone_{name}', ['dataset'], file=f'crops_{name}') for name in _backbones),
    *(
        _train(name, [f'backbone_{backbone}'], shared=False)
        for name, (_, backbone, _) in _detectors.items()
    ),
    *(
        _train(stage_two, [name, flow], shared=False)
        for name, (stage_two, _, flow) in _detectors.items()
    ),
]


def _rows(name, stage_two):
    """Return the rows of a detector."""
    frame = dict(
        group=name, config=f'{_folder}/{name}_synthetic.py', checkpoint=f'{{{name}}}/last.pth'
    )
    video = dict(group=name, config=f'{_folder}/{stage_two}_synthetic.py', method='propagate')
    rows = [
        dict(frame, name=f'{name}-{method}', method=method)
        for method in ('frame', 'copy', 'coast', 'interpolate')
    ]
    if stage_two.endswith('two-step'):
        regression = f'{{{stage_two}}}/regression.pth'
        rows.append(dict(video, name=f'{name}-reg', checkpoint=regression))
    return [
        *rows,
        dict(video, name=stage_two.replace('_', '-'), checkpoint=f'{{{stage_two}}}/last.pth'),
    ]


rows = [row for name, (stage_two, *_) in _detectors.items() for row in _rows(name, stage_two)]
key_intervals = [10]
seeds = [0, 1, 2]
