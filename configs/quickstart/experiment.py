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
    dict(_detector, name='coast', method='coast'),
    dict(_detector, name='interpolate', method='interpolate'),
    dict(_video, name='flow', checkpoint='{flow_detector}/last.pth'),
    dict(_video, name='reg', checkpoint='{two_step}/regression.pth'),
    dict(_video, name='sem', checkpoint='{sem}/last.pth'),
    dict(_video, name='two-step', checkpoint='{two_step}/last.pth'),
]
key_intervals = [10]
seeds = [0]
render = dict(row='two-step', key_interval=10, videos=2)
