"""Steps and rows of supervised Deep Feature Flow, for the experiments of the quick start."""

# Names of trainings and configs, and the steps that they start from.
_dff_names = {
    'dff': ['stage_one', 'flow'],
    'dff_fix-n': ['stage_one_vid', 'flow'],
    'dff_fix-f': ['stage_one', 'flow'],
    'dff_no-pretraining': ['stage_one'],
}
_dff_steps = [
    dict(
        name='stage_one_vid', train='configs/quickstart/rfcn_vid_synthetic.py', needs=['stage_one']
    ),
    *(
        dict(name=name, train=f'configs/quickstart/{name}_synthetic.py', needs=needs)
        for name, needs in _dff_names.items()
    ),
    # DFF separate: detector and flow network, each trained alone.
    dict(
        name='dff_separate',
        command=[
            'tools/convert_checkpoint.py',
            'join',
            '--overwrite',
            '--part',
            'spatial.detector={stage_one_vid}/last.pth',
            '--part',
            'temporal={flow}/last.pth:temporal',
            '--out',
            '{dff_separate}/last.pth',
        ],
    ),
]

_dff_video = dict(config='configs/quickstart/dff_synthetic.py', method='propagate')
_dff_rows = [
    dict(
        name='frame-vid',
        method='frame',
        config='configs/quickstart/rfcn_vid_synthetic.py',
        checkpoint='{stage_one_vid}/last.pth',
    ),
    *(
        dict(_dff_video, name=name.replace('_', '-'), checkpoint=f'{{{name}}}/last.pth')
        for name in (*_dff_names, 'dff_separate')
    ),
]
