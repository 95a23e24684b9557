"""Stage two on generated data: ATSS on unlabeled videos."""

_base_ = ['./_base_/stage_two.py']

model = dict(
    detector='configs/quickstart/detectors/atss_synthetic.py', split=dict(type='TowerSplit')
)
load_parts = dict(
    detector=dict(checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/atss/last.pth')
)
