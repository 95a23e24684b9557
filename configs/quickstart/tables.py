"""Tables 1 to 4 of semi-DFF and Table 4 of DFF on generated data, the twin of configs/imagenet/tables.py; three seeds.

python tools/run_experiment.py configs/quickstart/tables.py --tables 1 3a

The compared steps are equally long: reg, sem, each of the two steps of two-step and of all ablations have 1,000
iterations at the same peak learning rate; joint training has the iterations of one step. two-step has as many semantic
iterations as sem, in addition to those of reg, which is its first step. ``sem-long`` has as many iterations as both
steps of two-step. The papers' mAP is that of ImageNet VID and no reference for the values, only for their order.
"""

_base_ = ['./experiment.py', '../_base_/tables.py']

work_dir = 'work_dirs/quickstart_tables'
_iters = 1000


def _length(step, iters):
    """Return the settings of a step's length and peak learning rate."""
    own = f'train_cfg.steps.{step}'
    return {f'{own}.iters': iters, f'{own}.param_scheduler.0.eta_max': 8e-4}


def _stage_two(name, variant, options=None):
    """Return a training of stage two."""
    second = _length(1, _iters) if variant == 'two_step' else {}
    return dict(
        name=name,
        train=f'configs/quickstart/{variant}_synthetic.py',
        needs=['stage_one'],
        cfg_options={**_length(0, _iters), **second, **(options or {})},
    )


_vid = {'load_parts.detector.checkpoint': '{stage_one_vid}/last.pth'}
steps = [
    *(step for step in _base_.steps if step['name'] not in ('two_step', 'sem')),
    _stage_two('two_step', 'two_step'),
    _stage_two('sem', 'sem'),
    _stage_two('sem-long', 'sem', _length(0, 2 * _iters)),
    _stage_two('generative', 'reg_generative'),
    _stage_two('joint', 'joint'),
    _stage_two('t-inf', 'sem_t-inf'),
    *(_stage_two(k, 'reg', options) for k, options in _base_._reg_ablations.items()),
    *(_stage_two(k, 'sem', options) for k, options in _base_._sem_ablations.items()),
    *_base_._dff_steps,
    dict(
        name='dff_fix-n_stills',
        train='configs/quickstart/dff_synthetic.py',
        needs=['stage_one', 'flow'],
        cfg_options=_base_._fix_n,
    ),
    _stage_two('vid_two_step', 'two_step', _vid),
    _stage_two('vid_sem', 'sem', _vid),
]


def _row(name, config, checkpoint, method='propagate', **settings):
    """Return a row with the papers' mAP; rows of Table 4 are those with ``vid-``."""
    return dict(
        name=name,
        config=f'configs/quickstart/{config}_synthetic.py',
        checkpoint=f'{{{checkpoint}}}/{settings.pop("file", "last")}.pth',
        method=method,
        group='videos' if name.startswith('vid-') else 'images',
        tables=_base_._paper.get(name, {'1': None}),
        **settings,
    )


_ablations = [*_base_._reg_ablations, *_base_._sem_ablations, 't-inf', 'joint', 'sem-long']
_intervals = (5, 15, 20)
rows = [
    _row('frame', 'rfcn', 'stage_one', 'frame'),
    _row('copy', 'rfcn', 'stage_one', 'copy'),
    _row('flow', 'two_step', 'flow_detector'),
    _row('reg', 'two_step', 'two_step', file='regression'),
    _row('sem', 'two_step', 'sem'),
    _row('two-step', 'two_step', 'two_step'),
    *(_row(f'two-step-l{i}', 'two_step', 'two_step', key_intervals=[i]) for i in _intervals),
    _row('dff-fix-n', 'dff', 'dff_fix-n_stills'),
    _row('generative', 'reg_generative', 'generative'),
    *(_row(name, 'two_step', name) for name in _ablations),
    _row('vid-frame', 'rfcn_vid', 'stage_one_vid', 'frame'),
    _row('vid-copy', 'rfcn_vid', 'stage_one_vid', 'copy'),
    _row('vid-flow', 'dff', 'dff_separate'),
    *(_row(f'vid-{name}'.replace('_', '-'), 'dff', name) for name in _base_._dff_variants),
    *(_row(f'vid-{sff}', 'rfcn_vid', 'stage_one_vid', sff) for sff in ('sff-slow', 'sff-fast')),
    _row('vid-reg', 'two_step', 'vid_two_step', file='regression'),
    _row('vid-sem', 'two_step', 'vid_sem'),
    _row('vid-two-step', 'two_step', 'vid_two_step'),
    *(
        _row(f'vid-two-step-l{i}', 'two_step', 'vid_two_step', key_intervals=[i])
        for i in _intervals
    ),
]
seeds = [0, 1, 2]
