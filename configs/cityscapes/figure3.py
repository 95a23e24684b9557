"""DFF Figure 3 on Cityscapes, as configs/imagenet/figure3.py on ImageNet VID: mIoU over speed.

python tools/run_experiment.py configs/cityscapes/figure3.py --jobs 4
"""

_base_ = ['../imagenet/figure3.py']

work_dir = 'work_dirs/cityscapes_figure3'

# 8 images for each update
_options = {
    'train_cfg.type': 'AccumulatingLoop',
    'train_cfg.accumulate': 8,
    'train_dataloader.batch_size': 8,
}


def _config(path):
    """Return the config for Cityscapes in place of one for ImageNet VID."""
    name = path.rpartition('/')[2].removesuffix('.py')
    name = name.replace('rfcn', 'fcn').removesuffix('_imagenet-det-vid')
    return f'configs/cityscapes/{name}_cityscapes.py'


steps = [
    dict(
        step,
        train=_config(step['train']),
        cfg_options={**step['cfg_options'], **_options},
    )
    if 'cfg_options' in step
    else step
    for step in _base_.steps
]
rows = [dict(row, config=_config(row['config'])) for row in _base_.rows]
key_intervals = [1, 2, 3, 5, 8, 10]
