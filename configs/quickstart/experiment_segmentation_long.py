"""Segmentation with all variants of Deep Feature Flow (DFF Tables 3 and 4): more videos, longer trainings, three seeds.

python tools/run_experiment.py configs/quickstart/experiment_segmentation_long.py
"""

_base_ = ['./experiment_segmentation.py']

work_dir = 'work_dirs/quickstart_segmentation_long'


def _length(iters):
    """Return the settings of the length of a supervised training."""
    return {'train_cfg.max_iters': iters, 'param_scheduler.0.total_steps': iters}


_supervised = ('fcn', 'fcn_vid', 'fcn_dff', 'fcn_dff_fix-n', 'fcn_dff_fix-f')
_longer = dict(
    dict.fromkeys(_supervised, _length(400)),
    fcn_two_step={
        'load_parts.flow.part': 'temporal.flow_network',
        'load_parts.flow.prefix': 'temporal.flow_network',
        'load_parts.flow.checkpoint': '{video_flow}/last.pth',
        'train_cfg.steps.0.iters': 300,
        'train_cfg.steps.1.iters': 9000,
        # for more than three times as many videos
        'model.feature_cache': 4.0,
    },
)


def _step(step):
    """Return a step of the demo with more videos and longer trainings."""
    if step['name'] in _longer:
        return dict(step, cfg_options={**step.get('cfg_options', {}), **_longer[step['name']]})
    if step['name'] in ('dataset', 'label_maps'):
        return dict(step, command=[*step['command'], '--videos', '400'])
    return step


# A flow network, trained without labels of videos, from which stage two of all seeds starts.
_flow_steps = [
    dict(
        name='rfcn',
        train='configs/quickstart/rfcn_synthetic.py',
        needs=['backbone'],
        shared=True,
    ),
    dict(
        name='video_flow',
        train='configs/quickstart/detectors/flow_synthetic.py',
        needs=['rfcn'],
        shared=True,
    ),
]
_dataset, _backbone, *_others = _base_.steps
steps = [
    _step(step) for step in (_dataset, _backbone, *_flow_steps, *_others, *_base_._variant_steps)
]
rows = [*_base_.rows, *_base_._variant_rows]
key_intervals = [5, 10]
seeds = [0, 1, 2]
