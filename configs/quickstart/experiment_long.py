"""The quick start's chain in a larger world, with longer trainings and three seeds: two hours on two cores.

python tools/run_experiment.py configs/quickstart/experiment_long.py
"""

_base_ = ['./experiment.py']

work_dir = 'work_dirs/quickstart_long'

# Of more than three times as many videos.
_cache = {'model.feature_cache': 4.0}
# A training's iterations and those of its schedule, which spans all of them. The semantic step's peak rate is sem's:
# of 5e-4 and 8e-4 the second needs about half the iterations on the world's dev videos.
_longer = dict(
    flow={'train_cfg.max_iters': 2000, 'param_scheduler.0.total_steps': 2000},
    stage_one={'train_cfg.max_iters': 900, 'param_scheduler.0.total_steps': 900},
    two_step={
        'train_cfg.steps.0.iters': 3000,
        'train_cfg.steps.0.param_scheduler.0.total_steps': 3000,
        'train_cfg.steps.1.iters': 6000,
        'train_cfg.steps.1.param_scheduler.0.total_steps': 6000,
        'train_cfg.steps.1.param_scheduler.0.eta_max': 8e-4,
        **_cache,
    },
    sem={
        'train_cfg.steps.0.iters': 6000,
        'train_cfg.steps.0.param_scheduler.0.total_steps': 6000,
        **_cache,
    },
)
_minutes = dict(flow=4, stage_one=6, two_step=26, sem=18)
_world = dict(
    name='world',
    command=['tools/make_synthetic.py', '{world}', '--preset', 'long', '--workers', '2'],
    minutes=4,
    shared=True,
)
steps = [
    _world
    if step['name'] == 'world'
    else dict(step, cfg_options=_longer[step['name']], minutes=_minutes[step['name']])
    if step['name'] in _longer
    else step
    for step in _base_.steps
]
seeds = [0, 1, 2]
