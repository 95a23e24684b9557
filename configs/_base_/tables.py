"""The rows of semi-DFF's Tables 1 to 4 and of DFF's Table 4, for the experiments that make these tables.

Each row has the papers' mAP for each table that it is in. ``dff-4`` is Table 4 of DFF, whose variants are those of its
Table 3.
"""

_paper = {
    # labeled images only
    'frame': {'1': 59.31, '2': 59.31},
    'copy': {'1': 54.12},
    'flow': {'1': 55.05},
    'reg': {'1': 57.51, '3a': 57.51, '3b': 57.51},
    'sem': {'1': 58.15, '3c': 58.15, '3d': 58.15, '3e': 58.15},
    'two-step': {'1': 58.68, '2': 58.68, '3f': 58.68, '3g': 58.68},
    'two-step-l5': {'3g': 59.05},
    'two-step-l15': {'3g': 57.68},
    'two-step-l20': {'3g': 57.35},
    'yolo': {'2': 51.65},
    'ssd': {'2': 56.33},
    'dff-fix-n': {'2': 59.54},
    'generative': {'3a': 54.79},
    'steady': {'3b': 54.13},
    'l1': {'3b': 55.55},
    'classes': {'3c': 55.54},
    'classes-attention': {'3c': 55.76},
    'classes-boxes': {'3c': 57.75},
    't2': {'3d': 58.07},
    't4': {'3d': 58.16},
    't10': {'3d': 57.85},
    't-inf': {'3d': 57.81},
    'temporal': {'3e': 57.94},
    'temporal-spatial': {'3e': 53.38},
    'joint': {'3f': 58.08},
    # labeled images and video frames
    'vid-frame': {'4': 74.10, 'dff-4': 73.9},
    'vid-copy': {'4': 65.61},
    'vid-flow': {'4': 67.32, 'dff-4': 67.4},
    'vid-dff-no-pretraining': {'4': 70.54},
    'vid-dff': {'4': 72.93, 'dff-4': 73.1},
    'vid-dff-fix-n': {'dff-4': 72.3},
    'vid-dff-fix-f': {'dff-4': 68.8},
    'vid-sff-slow': {'dff-4': 70.7},
    'vid-sff-fast': {'dff-4': 69.7},
    'vid-yolo': {'4': 60.00},
    'vid-ssd': {'4': 65.54},
    'vid-reg': {'4': 71.14},
    'vid-sem': {'4': 71.96},
    'vid-two-step': {'4': 72.65},
    'vid-two-step-l5': {'4': 73.59},
    'vid-two-step-l15': {'4': 71.31},
    'vid-two-step-l20': {'4': 70.42},
    'vid-plus': {'4': 73.23},
}

# Rows of Table 3 that differ from reg or sem in a setting of the step.
_step = 'train_cfg.steps.0'
_reg_ablations = {
    'steady': {
        f'{_step}.objectives.0.type': 'SteadyFeatures',
        'train_dataloader.dataset.dataset.triplets': True,
    },
    'l1': {f'{_step}.objectives.0.norm': 'l1'},
}
_sem_ablations = {
    'classes': {f'{_step}.objectives.0.attention': False, f'{_step}.objectives.0.boxes': False},
    'classes-attention': {f'{_step}.objectives.0.boxes': False},
    'classes-boxes': {f'{_step}.objectives.0.attention': False},
    't2': {f'{_step}.objectives.0.temperature': 2.0},
    't4': {f'{_step}.objectives.0.temperature': 4.0},
    't10': {f'{_step}.objectives.0.temperature': 10.0},
    'temporal': {f'{_step}.trainable': ['temporal']},
    'temporal-spatial': {f'{_step}.trainable': ['temporal', 'task_network', 'feature_network']},
}

# DFF separate, R-FCN flow: detector and flow network, each trained alone.
_join = ['tools/convert_checkpoint.py', 'join', '--overwrite', '--part']
