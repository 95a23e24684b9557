"""Stage one on generated data: RetinaNet on labeled stills."""

_base_ = ['./_base_/retinanet.py', '../_base_/stage_one.py']

load_parts = dict(
    backbone=dict(
        checkpoint='{{$EXPERIMENT_DIR:work_dirs/quickstart_detectors}}/backbone_r18/last.pth'
    )
)
