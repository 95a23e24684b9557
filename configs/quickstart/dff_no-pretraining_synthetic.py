"""DFF without flow pre-training (semi-DFF Table 4): the temporal module starts at random."""

_base_ = ['./dff_synthetic.py']

load_parts = dict(
    _delete_=True,
    detector=dict(
        part='spatial.detector',
        checkpoint='{{$RUN_DIR:work_dirs/quickstart/seed0}}/stage_one/last.pth',
    ),
)
