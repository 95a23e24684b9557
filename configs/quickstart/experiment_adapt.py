"""``make demo``: train an image detector on labeled stills, then make it faster with unlabeled videos (tools/adapt.py).

Takes 26 minutes on two idle cores, 21 with bfloat16 instructions.

The videos have larger frames than the stills. Their objects are about as fast as those of ImageNet VID, 35 % of the
boxes are slow, 39 % medium and 26 % fast (ImageNet VID: 38, 36 and 26 %), and the camera is hand-held.

python tools/run_experiment.py configs/quickstart/experiment_adapt.py
"""

work_dir = 'work_dirs/quickstart_adapt'

_stills = '--videos 0 --train 0 --val 0 --dev 0 --flow 0'
_videos = '--stills 0 --train 0 --val 8 --dev 0 --flow 0 --crops 0'
_videos += ' --height 288 --width 384 --motion 0.3 --shake 4.5 --eval-length 61'
_adapt = 'tools/adapt.py configs/quickstart/rfcn_synthetic.py {stage_one}/last.pth'
_adapt += ' {footage}/videos --labels {footage}/val.json --minutes 12 --anyway --out {adapted}'

steps = [
    dict(name='dataset', command=f'tools/make_synthetic.py {{dataset}} {_stills}'.split()),
    dict(name='footage', command=f'tools/make_synthetic.py {{footage}} {_videos}'.split()),
    dict(
        name='backbone',
        train='configs/quickstart/crops_synthetic.py',
        needs=['dataset'],
        alone=True,
    ),
    dict(
        name='stage_one',
        train='configs/quickstart/rfcn_synthetic.py',
        needs=['backbone'],
        alone=True,
    ),
    dict(name='adapted', command=_adapt.split(), alone=True),
]
result = '{adapted}/report.md'
