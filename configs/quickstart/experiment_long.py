"""The quick start on a larger data set, with longer trainings and three seeds: two hours on two cores.

python tools/run_experiment.py configs/quickstart/experiment_long.py
"""

_base_ = ['./experiment.py']

work_dir = 'work_dirs/quickstart_long'

# For more than three times as many videos.
_cache = {'model.feature_cache': 4.0}
# Iterations of each training and of its learning-rate schedule. The semantic step has the peak learning rate of sem:
# 8e-4 needs about half as many iterations as 5e-4 on the dev videos.
_longer = dict(
    flow={'train_cfg.max_iters': 2000, 'param_scheduler.0.total_steps': 2000},
    stage_one={'train_cfg.max_iters': 900, 'param_scheduler.0.total_steps': 900},
    two_step={
        'train_cfg.steps.0.iters': 3000,
        'train_cfg.steps.1.iters': 6000,
        'train_cfg.steps.1.param_scheduler.0.eta_max': 8e-4,
        **_cache,
    },
    sem={
        'train_cfg.steps.0.iters': 6000,
        **_cache,
    },
)
_dataset = dict(
    name='dataset',
    command=['tools/make_synthetic.py', '{dataset}', '--preset', 'long', '--workers', '2'],
    shared=True,
)
_current = {'model.temporal.correction_width': 48, 'model.temporal.current_width': 64}
steps = [
    _dataset
    if step['name'] == 'dataset'
    else dict(step, cfg_options=_longer[step['name']])
    if step['name'] in _longer
    else step
    for step in _base_.steps
]
# As two_step, with a network on the current frame, which the papers do not have.
steps.append(
    dict(
        name='two_step_current',
        train='configs/quickstart/two_step_synthetic.py',
        needs=['stage_one'],
        cfg_options={**_longer['two_step'], **_current},
    )
)
rows = [
    *_base_.rows,
    dict(
        name='two-step-current',
        config='configs/quickstart/two_step_synthetic.py',
        checkpoint='{two_step_current}/last.pth',
        method='propagate',
        cfg_options=_current,
    ),
]
seeds = [0, 1, 2]
