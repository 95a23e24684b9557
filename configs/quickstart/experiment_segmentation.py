"""Deep Feature Flow and semi-DFF for semantic segmentation on generated data.

python tools/run_experiment.py configs/quickstart/experiment_segmentation.py

*frame-vid*, *copy-vid* and *dff* are trained on labeled frames of videos, the others on labeled stills only.
"""

_base_ = ['./experiment.py']

work_dir = 'work_dirs/quickstart_segmentation'

_folder = 'configs/quickstart/segmentation'


def _join(name, network):
    """Return the step that joins a network with the pre-trained flow network."""
    return dict(
        name=name,
        command=[
            'tools/convert_checkpoint.py',
            'join',
            '--overwrite',
            '--part',
            f'spatial.detector={{{network}}}/last.pth',
            '--part',
            'temporal={flow}/last.pth:temporal',
            '--out',
            f'{{{name}}}/last.pth',
        ],
    )


steps = [
    *(step for step in _base_.steps if step['name'] in ('dataset', 'backbone', 'flow')),
    # added to the data set
    dict(
        name='label_maps',
        command=[
            'tools/make_synthetic.py',
            '{dataset}',
            '--preset',
            'quickstart',
            '--workers',
            '2',
            '--label-maps',
            '1',
        ],
        shared=True,
    ),
    dict(
        name='fcn',
        train=f'{_folder}/fcn_synthetic.py',
        needs=['backbone', 'label_maps'],
        alone=True,
    ),
    dict(name='fcn_vid', train=f'{_folder}/fcn_vid_synthetic.py', needs=['fcn']),
    dict(name='fcn_two_step', train=f'{_folder}/two_step_synthetic.py', needs=['fcn', 'flow']),
    dict(name='fcn_dff', train=f'{_folder}/dff_synthetic.py', needs=['fcn', 'flow']),
    _join('fcn_flow', 'fcn'),
]

_stills = dict(group='stills', config=f'{_folder}/fcn_synthetic.py', checkpoint='{fcn}/last.pth')
_labeled = dict(
    group='vid', config=f'{_folder}/fcn_vid_synthetic.py', checkpoint='{fcn_vid}/last.pth'
)
_two_step = dict(group='stills', config=f'{_folder}/two_step_synthetic.py', method='propagate')
_video = dict(group='vid', config=f'{_folder}/dff_synthetic.py', method='propagate')
rows = [
    dict(_stills, name='frame', method='frame'),
    dict(_stills, name='copy', method='copy'),
    dict(_stills, name='sff', method='sff-fast'),
    dict(_two_step, name='flow', checkpoint='{fcn_flow}/last.pth'),
    dict(_two_step, name='reg', checkpoint='{fcn_two_step}/regression.pth'),
    dict(_two_step, name='two-step', checkpoint='{fcn_two_step}/last.pth'),
    dict(_labeled, name='frame-vid', method='frame'),
    dict(_labeled, name='copy-vid', method='copy'),
    dict(_video, name='dff', checkpoint='{fcn_dff}/last.pth'),
]
# Variants of DFF Tables 3 and 4, for experiment_segmentation_long.py.
_variants = {
    'dff_fix-n': {
        'model.trainable': ['temporal'],
        'load_parts.network.checkpoint': '{fcn_vid}/last.pth',
    },
    'dff_fix-f': {'model.trainable': ['feature_network', 'task_network']},
}
_variant_steps = [
    *(
        dict(
            name=f'fcn_{name}',
            train=f'{_folder}/dff_synthetic.py',
            needs=['fcn', 'flow'],
            cfg_options=options,
        )
        for name, options in _variants.items()
    ),
    _join('fcn_dff_separate', 'fcn_vid'),
]
_variant_rows = [
    dict(_video, name=name.replace('_', '-'), checkpoint=f'{{fcn_{name}}}/last.pth')
    for name in (*_variants, 'dff_separate')
]
