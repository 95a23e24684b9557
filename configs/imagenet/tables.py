"""Tables 1 to 4 of semi-DFF and Tables 4 and 5 of DFF on ImageNet VID, the papers' mAP beside ours; three seeds.

python tools/run_experiment.py configs/imagenet/tables.py --tables 1 3a --jobs 4

Each job has a GPU of its own; trainings of R-FCN accumulate the gradients of 4 images on it, the number of the papers.
The compared steps are equally long: reg, sem, each of the two steps of two-step and of all ablations have 57,834
iterations, as in the authors' code; joint training has the iterations of one step. two-step has as many semantic
iterations as sem, in addition to those of reg, which is its first step.

With docs/imagenet.md's layout of the data, and Flying Chairs as docs/flow.md says.
"""

_base_ = ['../_base_/tables.py']

work_dir = 'work_dirs/tables'

# 4 images for each update (tools/train.py --accumulate 4)
_four = {'train_cfg.accumulate': 4, 'train_dataloader.batch_size': 4}
_labeled = {**_four, 'train_cfg.type': 'AccumulatingLoop'}


def _detector(step):
    """Return the setting of the detector that a training starts from."""
    return {'load_parts.detector.checkpoint': f'{{{step}}}/last.pth'}


def _stage_two(name, config, detector='rfcn', options=None):
    """Return a training of stage two."""
    options = {**_four, **_detector(detector), **(options or {})}
    return dict(name=name, train=f'configs/{config}.py', cfg_options=options)


def _dff(name, variant, options=None):
    """Return a training of supervised DFF."""
    flow = {} if variant == 'no-pretraining' else {'load_parts.flow.checkpoint': '{flow}/last.pth'}
    return dict(
        name=name,
        train=f'configs/dff/dff_r101_{variant}.py',
        cfg_options={**_labeled, **flow, **(options or {})},
    )


# Table 5: layers of N_task; and DFF without the scale field (5.2: less than 1 below).
_splits = {'split21': 73.2, 'split12': 73.3, 'split5': 73.2, 'split0': 72.7}
_own_configs = {f'vid-dff-{k}': {'dff-5': v} for k, v in _splits.items()}
_own_configs['vid-dff-no-scale'] = {'dff-4': None}


def _joined(name, detector):
    """Return the step that joins a detector and the flow network."""
    parts = [
        f'spatial.detector={{{detector}}}/last.pth',
        '--part',
        'temporal={flow}/last.pth:temporal',
    ]
    return dict(name=name, command=[*_base_._join, *parts, '--out', f'{{{name}}}/last.pth'])


_rfcn, _vid_rfcn = (f'rfcn/rfcn_r101_imagenet-{data}' for data in ('det', 'det-vid'))
_two, _vid_two = (f'semi_dff/semi-dff_r101_imagenet-{data}' for data in ('det', 'det-vid'))
# One-stage detectors, in place of YOLOv2 YOLOv3; the papers have no RetinaNet, and no semi-DFF with any of them.
_one_stage = {'yolo': 'yolov3-416', 'ssd': 'ssd300', 'retinanet': 'retinanet_r50'}
_both = [*_one_stage, 'vid-yolo', 'vid-ssd']


def _one(name):
    """Return the beginning of a one-stage detector's configs."""
    return f'one_stage/{_one_stage[name.removeprefix("vid-")]}'


def _one_stage_steps(name):
    """Return the trainings of a one-stage detector, and of semi-DFF with it."""
    data = 'det-vid' if name.startswith('vid-') else 'det'
    train = f'configs/{_one(name)}_imagenet-{data}.py'
    options = _labeled if name == 'retinanet' else {}
    return [
        dict(name=name, train=train, cfg_options=options),
        _stage_two(f'{name}-semi-dff', f'{_one(name)}_semi-dff', name),
    ]


steps = [
    dict(name='flow', train='configs/flow/flownet-s_flying-chairs.py', shared=True),
    # labeled images only
    dict(name='rfcn', train='configs/rfcn/rfcn_r101_imagenet-det.py', cfg_options=_labeled),
    _joined('joined', 'rfcn'),
    _stage_two('two_step', _two),
    _stage_two('sem', f'{_two}_sem'),
    _stage_two('generative', f'{_two}_reg_generative'),
    _stage_two('joint', f'{_two}_joint'),
    _stage_two('t-inf', f'{_two}_sem_t-inf'),
    *(_stage_two(k, f'{_two}_reg', options=v) for k, v in _base_._reg_ablations.items()),
    *(_stage_two(k, f'{_two}_sem', options=v) for k, v in _base_._sem_ablations.items()),
    _dff('dff_fix-n', 'fix-n_imagenet-det', _detector('rfcn')),
    # labeled images and video frames
    dict(name='vid_rfcn', train='configs/rfcn/rfcn_r101_imagenet-det-vid.py', cfg_options=_labeled),
    _joined('vid_joined', 'vid_rfcn'),
    _dff('vid_dff', 'imagenet-det-vid'),
    _dff('vid_dff_no-pretraining', 'no-pretraining'),
    _dff('vid_dff_fix-n', 'fix-n', _detector('vid_rfcn')),
    _dff('vid_dff_fix-f', 'fix-f'),
    *(_dff(f'vid_dff_{name}', name) for name in (*_splits, 'no-scale')),
    _stage_two('vid_two_step', _vid_two, 'vid_rfcn'),
    _stage_two('vid_sem', f'{_vid_two}_sem', 'vid_rfcn'),
    *(step for name in _both for step in _one_stage_steps(name)),
    _stage_two('vid_plus', f'{_vid_two}_plus', 'vid_rfcn'),
]


def _row(name, config, checkpoint, method='propagate', **settings):
    """Return a row with the papers' mAP; rows of Table 4 are those with ``vid-``."""
    return dict(
        name=name,
        config=f'configs/{config}.py',
        checkpoint=checkpoint,
        method=method,
        **{
            'group': 'videos' if name.startswith('vid-') else 'images',
            'tables': _base_._paper.get(name, {}),
            **settings,
        },
    )


_ablations = [*_base_._reg_ablations, *_base_._sem_ablations, 't-inf', 'joint']
_variants = ('dff_no-pretraining', 'dff_fix-n', 'dff_fix-f')
_dff_tables = {**_base_._paper['vid-dff'], 'dff-5': 73.1}


def _one_stage_rows(name):
    """Return the rows of a one-stage detector, a group of their own."""
    table = '4' if name.startswith('vid-') else '2'
    own = dict(group=name, tables=_base_._paper.get(name, {table: None}))
    frame, video = f'{_one(name)}_imagenet-det', f'{_one(name)}_semi-dff'
    weights = f'{{{name}-semi-dff}}/last.pth'
    return [
        _row(name, frame, f'{{{name}}}/last.pth', 'frame', **own),
        _row(
            f'{name}-copy', frame, f'{{{name}}}/last.pth', 'copy', group=name, tables={table: None}
        ),
        _row(f'{name}-semi-dff', video, weights, group=name, tables={table: None}),
    ]


rows = [
    _row('frame', _rfcn, '{rfcn}/last.pth', 'frame'),
    _row('copy', _rfcn, '{rfcn}/last.pth', 'copy'),
    _row('flow', 'dff/dff_r101_separate_imagenet-det', '{joined}/last.pth'),
    _row('reg', _two, '{two_step}/reg.pth'),
    _row('sem', _two, '{sem}/last.pth'),
    _row('two-step', _two, '{two_step}/last.pth'),
    *(_row(f'two-step-l{i}', _two, '{two_step}/last.pth', key_intervals=[i]) for i in (5, 15, 20)),
    _row('dff-fix-n', 'dff/dff_r101_fix-n_imagenet-det', '{dff_fix-n}/last.pth'),
    _row('generative', f'{_two}_reg_generative', '{generative}/last.pth'),
    *(_row(name, _two, f'{{{name}}}/last.pth') for name in _ablations),
    _row('vid-frame', _vid_rfcn, '{vid_rfcn}/last.pth', 'frame'),
    _row('vid-copy', _vid_rfcn, '{vid_rfcn}/last.pth', 'copy'),
    _row('vid-flow', 'dff/dff_r101_separate', '{vid_joined}/last.pth'),
    _row('vid-dff', 'dff/dff_r101_imagenet-det-vid', '{vid_dff}/last.pth', tables=_dff_tables),
    *(
        _row(f'vid-{v}'.replace('_', '-'), 'dff/dff_r101_imagenet-det-vid', f'{{vid_{v}}}/last.pth')
        for v in _variants
    ),
    *(
        _row(
            f'vid-dff-{v}',
            f'dff/dff_r101_{v}',
            f'{{vid_dff_{v}}}/last.pth',
            tables=_own_configs[f'vid-dff-{v}'],
        )
        for v in (*_splits, 'no-scale')
    ),
    *(_row(f'vid-sff-{v}', f'dff/sff-{v}_r101', '{vid_rfcn}/last.pth') for v in ('slow', 'fast')),
    _row('vid-reg', _vid_two, '{vid_two_step}/reg.pth'),
    _row('vid-sem', _vid_two, '{vid_sem}/last.pth'),
    _row('vid-two-step', _vid_two, '{vid_two_step}/last.pth'),
    *(
        _row(f'vid-two-step-l{i}', _vid_two, '{vid_two_step}/last.pth', key_intervals=[i])
        for i in (5, 15, 20)
    ),
    *(row for name in _both for row in _one_stage_rows(name)),
    _row('vid-plus', _vid_two, '{vid_plus}/last.pth'),
]
key_intervals = [10]
seeds = [0, 1, 2]
