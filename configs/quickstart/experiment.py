"""Both stages and the evaluation on generated data.

Takes less than 25 minutes on two cores with bfloat16 instructions, an hour on two without.

python tools/run_experiment.py configs/quickstart/experiment.py
"""

work_dir = 'work_dirs/quickstart'

steps = [
    dict(
        name='dataset',
        command=[
            'tools/make_synthetic.py',
            '{dataset}',
            '--preset',
            'quickstart',
            '--workers',
            '2',
        ],
        shared=True,
    ),
    dict(
        name='backbone',
        train='configs/quickstart/crops_synthetic.py',
        needs=['dataset'],
        shared=True,
    ),
    dict(name='flow', train='configs/quickstart/flow_synthetic.py', needs=['dataset']),
    # All later steps depend on it, so it runs alone on all cores.
    dict(
        name='stage_one',
        train='configs/quickstart/rfcn_synthetic.py',
        needs=['backbone'],
        alone=True,
    ),
    dict(name='two_step', train='configs/quickstart/two_step_synthetic.py', needs=['stage_one']),
    dict(name='sem', train='configs/quickstart/sem_synthetic.py', needs=['stage_one']),
    # The flow network trained on true optical flow, joined with the detector of stage one.
    dict(
        name='flow_detector',
        command=[
            'tools/convert_checkpoint.py',
            'join',
            '--overwrite',
            '--part',
            'spatial.detector={stage_one}/last.pth',
            '--part',
            'temporal={flow}/last.pth:temporal',
            '--out',
            '{flow_detector}/last.pth',
        ],
    ),
]

_detector = dict(config='configs/quickstart/rfcn_synthetic.py', checkpoint='{stage_one}/last.pth')
_video = dict(config='configs/quickstart/two_step_synthetic.py', method='propagate')
rows = [
    dict(_detector, name='frame', method='frame'),
    dict(_detector, name='copy', method='copy'),
    dict(_detector, name='track', method='track'),
    dict(_detector, name='interpolate', method='interpolate'),
    dict(_video, name='flow', checkpoint='{flow_detector}/last.pth'),
    dict(_video, name='reg', checkpoint='{two_step}/regression.pth'),
    dict(_video, name='sem', checkpoint='{sem}/last.pth'),
    dict(_video, name='two-step', checkpoint='{two_step}/last.pth'),
]
key_intervals = [10]
seeds = [0]
render = dict(row='two-step', key_interval=10, videos=2)

# Supervised Deep Feature Flow, for experiment_dff.py, experiment_dff_long.py and tables.py.
# Variants of a training: config, steps that it starts from, settings.
_fix_n, _fix_f = (
    {'model.trainable': parts} for parts in (['temporal'], ['feature_network', 'task_network'])
)
_vid = {'load_parts.detector.checkpoint': '{stage_one_vid}/last.pth'}
_dff_variants = {
    'dff': ('dff', ['stage_one', 'flow'], {}),
    'dff_fix-n': ('dff', ['flow'], {**_fix_n, **_vid}),
    'dff_fix-f': ('dff', ['stage_one', 'flow'], _fix_f),
    'dff_no-pretraining': ('dff_no-pretraining', ['stage_one'], {}),
}
_dff_steps = [
    dict(
        name='stage_one_vid', train='configs/quickstart/rfcn_vid_synthetic.py', needs=['stage_one']
    ),
    *(
        dict(
            name=name,
            train=f'configs/quickstart/{config}_synthetic.py',
            needs=needs,
            cfg_options=options,
        )
        for name, (config, needs, options) in _dff_variants.items()
    ),
    # DFF separate: detector and flow network, each trained alone.
    dict(
        name='dff_separate',
        command=[
            'tools/convert_checkpoint.py',
            'join',
            '--overwrite',
            '--part',
            'spatial.detector={stage_one_vid}/last.pth',
            '--part',
            'temporal={flow}/last.pth:temporal',
            '--out',
            '{dff_separate}/last.pth',
        ],
    ),
]

_dff_video = dict(config='configs/quickstart/dff_synthetic.py', method='propagate')
_dff_rows = [
    dict(
        name='frame-vid',
        method='frame',
        config='configs/quickstart/rfcn_vid_synthetic.py',
        checkpoint='{stage_one_vid}/last.pth',
    ),
    *(
        dict(_dff_video, name=name.replace('_', '-'), checkpoint=f'{{{name}}}/last.pth')
        for name in (*_dff_variants, 'dff_separate')
    ),
]
