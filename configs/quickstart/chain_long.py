"""The quick start's chain with longer trainings and three seeds, in less than two hours on two cores.

python tools/chain.py configs/quickstart/chain_long.py
"""

_base_ = ['./chain.py']

work_dir = 'work_dirs/quickstart_long'

# A training's iterations and those of its schedule, which spans all of them.
_longer = dict(
    flow={'train_cfg.max_iters': 2000, 'param_scheduler.0.total_steps': 2000},
    stage_one={'train_cfg.max_iters': 900, 'param_scheduler.0.total_steps': 900},
    two_step={
        'train_cfg.steps.0.iters': 5000,
        'train_cfg.steps.0.param_scheduler.0.total_steps': 5000,
        'train_cfg.steps.1.iters': 5000,
        'train_cfg.steps.1.param_scheduler.0.total_steps': 5000,
    },
    sem={
        'train_cfg.steps.0.iters': 5000,
        'train_cfg.steps.0.param_scheduler.0.total_steps': 5000,
    },
)
_minutes = dict(flow=4, stage_one=5, two_step=30, sem=17)
steps = [
    dict(step, cfg_options=_longer[step['name']], minutes=_minutes[step['name']])
    if step['name'] in _longer
    else step
    for step in _base_.steps
]
seeds = [0, 1, 2]
