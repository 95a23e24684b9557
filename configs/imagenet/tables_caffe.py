"""tables.py with the backbone of the papers in all rows of R-FCN, as configs/rfcn/rfcn_r101-caffe_imagenet-det-vid.py.

python tools/run_experiment.py configs/imagenet/tables_caffe.py --tables 1 3a --jobs 4

The weights are MSRA's (OpenMMLab's copy), and so are the means, which are subtracted from BGR frames in all trainings,
that of the flow network included.
"""

_base_ = ['./tables.py']

work_dir = 'work_dirs/tables_caffe'


def _options(config, train=False):
    """Return the settings of a config of tables.py with ResNet-101, for a training or for a test."""
    if 'one_stage/' in config:
        return {}
    kind = config.split('/')[1]
    part = 'model' if kind in ('rfcn', 'flow') else 'model.detector'
    pixels = dict(mean=[103.06, 115.90, 123.15], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)
    options = {f'{part}.data_preprocessor.{key}': value for key, value in pixels.items()}
    if '/sff-' in config:
        colors = dict(mean=pixels['mean'], std=pixels['std'], rgb=pixels['bgr_to_rgb'])
        options |= {f'model.temporal.flow_network.{key}': value for key, value in colors.items()}
    elif kind != 'rfcn':
        options['model.temporal.flow_network.input_scale'] = 1 / 255
    if kind != 'flow':
        options[f'{part}.backbone.style'] = 'caffe'
        # Stage two and fix N take their backbone from stage one.
        if train and kind != 'semi_dff' and 'fix-n' not in config:
            options[f'{part}.backbone.init_cfg.checkpoint'] = (
                'open-mmlab://detectron2/resnet101_caffe'
            )
    return options


steps = [
    dict(s, cfg_options={**s.get('cfg_options', {}), **_options(s['train'], train=True)})
    if 'train' in s
    else s
    for s in _base_.steps
]
rows = [
    dict(row, cfg_options={**row.get('cfg_options', {}), **_options(row['config'])})
    for row in _base_.rows
]
