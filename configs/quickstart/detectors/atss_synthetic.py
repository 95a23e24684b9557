"""Stage one on generated data: ATSS on labeled stills."""

_base_ = ['./_base_/atss.py', '../_base_/stage_one.py']

load_parts = dict(
    backbone=dict(
        checkpoint='{{$EXPERIMENT_DIR:work_dirs/quickstart_detectors}}/backbone_r18/last.pth'
    )
)
