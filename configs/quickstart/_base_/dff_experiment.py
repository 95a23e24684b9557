"""Steps and rows of supervised Deep Feature Flow, for the quick start's chains."""

_dff_minutes = 4
_dff_names = ('dff', 'dff_fix-n', 'dff_fix-f', 'dff_no-pretraining')
_dff_steps = [
    dict(name='stage_one_vid', train='configs/quickstart/rfcn_vid_synthetic.py', minutes=3),
    *(
        dict(name=name, train=f'configs/quickstart/{name}_synthetic.py', minutes=_dff_minutes)
        for name in _dff_names
    ),
    # Detector and flow network, each trained alone: DFF separate.
    dict(
        name='dff_separate',
        command=[
            'tools/model_converters/join_checkpoints.py',
            '--part',
            'spatial.detector={stage_one_vid}/last.pth',
            '--part',
            'temporal={flow}/last.pth:temporal',
            '--out',
            '{dff_separate}/last.pth',
        ],
        minutes=0.2,
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
