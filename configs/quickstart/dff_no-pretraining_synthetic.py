"""DFF without flow pre-training: the temporal module starts at random, as semi-DFF's (semi-DFF Table 4)."""

_base_ = ['./dff_synthetic.py']

load_parts = dict(
    _delete_=True,
    detector=dict(
        part='spatial.detector',
        checkpoint='{{$RUN_DIR:work_dirs/quickstart}}/stage_one/last.pth',
    ),
)
