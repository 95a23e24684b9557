"""Both stages and the evaluation on real footage: a template for your own data.

DATA_ROOT=data/person TRUNK=data/weights/resnet18.pth python tools/run_experiment.py configs/person/experiment.py
"""

work_dir = 'work_dirs/person'

steps = [
    # Only pairs with true optical flow, for the row *flow*.
    dict(
        name='dataset',
        command=[
            'tools/make_synthetic.py', '{dataset}', '--workers', '2', '--stills', '0', '--videos', '0',
            '--train', '0', '--val', '0', '--dev', '0', '--crops', '0',
        ],
        shared=True,
    ),
    dict(
        name='flow',
        train='configs/quickstart/flow_synthetic.py',
        needs=['dataset'],
        cfg_options={'model.temporal.flow_network.width': 0.125},
    ),
    # All seeds share one detector; they differ in what is trained on the videos.
    dict(name='stage_one', train='configs/person/rfcn_person.py', shared=True),
    dict(name='two_step', train='configs/person/two_step_person.py', needs=['stage_one']),
    dict(
        name='fix_task',
        train='configs/person/two_step_fix-task_person.py',
        needs=['stage_one'],
    ),
    dict(name='sem', train='configs/person/sem_person.py', needs=['stage_one']),
    dict(
        name='flow_detector',
        command=[
            'tools/convert_checkpoint.py',
            'join',
            '--overwrite',
            '--part', 'spatial.detector={stage_one}/last.pth',
            '--part', 'temporal={flow}/last.pth:temporal',
            '--out', '{flow_detector}/last.pth',
        ],
    ),
]  # fmt: skip

_detector = dict(config='configs/person/rfcn_person.py', checkpoint='{stage_one}/last.pth')
_video = dict(config='configs/person/two_step_person.py', method='propagate')
rows = [
    dict(_detector, name='frame', method='frame'),
    dict(_detector, name='copy', method='copy'),
    dict(_detector, name='track', method='track'),
    dict(_detector, name='interpolate', method='interpolate'),
    dict(_video, name='flow', checkpoint='{flow_detector}/last.pth'),
    dict(_video, name='reg', checkpoint='{two_step}/regression.pth'),
    dict(_video, name='sem', checkpoint='{sem}/last.pth'),
    dict(_video, name='two-step', checkpoint='{two_step}/last.pth'),
    dict(_video, name='centered', checkpoint='{two_step}/last.pth', method='centered'),
    dict(_video, name='fix-task', checkpoint='{fix_task}/last.pth'),
    dict(_video, name='fix-task-centered', checkpoint='{fix_task}/last.pth', method='centered'),
]
key_intervals = [5, 10, 15, 20]
seeds = [0]
render = dict(row='two-step', key_interval=10, videos=2)
