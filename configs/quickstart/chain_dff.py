"""Supervised Deep Feature Flow beside semi-DFF in the generated world (DFF Tables 3, 4; semi-DFF Tables 2, 4).

python tools/chain.py configs/quickstart/chain_dff.py

It works in the quick start's folder: what `make demo` has done is not done again. *frame-vid* and the rows with *dff*
have seen labelled frames of videos, the others only labelled stills.
"""

_base_ = ['./chain.py']

_minutes = 6
_dff = ('dff', 'dff_fix-n', 'dff_fix-f', 'dff_no-pretraining')
steps = [
    *_base_.steps,
    dict(name='stage_one_vid', train='configs/quickstart/rfcn_vid_world.py', minutes=4),
    *(
        dict(name=name, train=f'configs/quickstart/{name}_world.py', minutes=_minutes)
        for name in _dff
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

_video = dict(config='configs/quickstart/dff_world.py', method='propagate')
rows = [
    *_base_.rows,
    dict(
        name='frame-vid',
        method='frame',
        config='configs/quickstart/rfcn_vid_world.py',
        checkpoint='{stage_one_vid}/last.pth',
    ),
    *(
        dict(_video, name=name.replace('_', '-'), checkpoint=f'{{{name}}}/last.pth')
        for name in (*_dff, 'dff_separate')
    ),
]
