"""Both stages and the evaluation of six detectors on generated data, three seeds.

python tools/run_experiment.py configs/quickstart/experiment_detectors.py
"""

work_dir = 'work_dirs/quickstart_detectors'

_folder = 'configs/quickstart/detectors'
_backbones = ('r18', 'cspnext', 'cspdarknet')
# Folder and config of stage two by detector.
_stage_two = {
    'retinanet': 'retinanet_two-step',
    'atss': 'atss_two-step',
    'rtmdet': 'rtmdet_two-step',
    'yolox': 'yolox_two-step',
    'faster-rcnn': 'faster-rcnn_two-step',
    'dino': 'dino_reg',
}

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
    dict(name='backbone', train='configs/quickstart/crops_synthetic.py', shared=True),
    dict(name='rfcn', train='configs/quickstart/rfcn_synthetic.py', shared=True),
    dict(name='flow', train=f'{_folder}/flow_synthetic.py', shared=True),
    dict(name='flow_quarter', train=f'{_folder}/flow_quarter_synthetic.py', shared=True),
    *(
        dict(name=f'backbone_{name}', train=f'{_folder}/crops_{name}_synthetic.py', shared=True)
        for name in _backbones
    ),
    *(dict(name=name, train=f'{_folder}/{name}_synthetic.py') for name in _stage_two),
    *(dict(name=name, train=f'{_folder}/{name}_synthetic.py') for name in _stage_two.values()),
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


rows = [row for names in _stage_two.items() for row in _rows(*names)]
key_intervals = [10]
seeds = [0, 1, 2]
