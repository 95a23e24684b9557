"""DFF without flow pre-training: the temporal module starts from random weights, as in semi-DFF (its Table 4)."""

_base_ = ['./dff_synthetic.py']

load_parts = dict(
    _delete_=True,
    detector=dict(
        part='spatial.detector',
        checkpoint='{{$RUN_DIR:work_dirs/quickstart/seed0}}/stage_one/last.pth',
    ),
)
