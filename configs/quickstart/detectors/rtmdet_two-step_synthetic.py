"""Stage two on generated data: RTMDet-tiny on unlabeled videos."""

_base_ = ['./_base_/stage_two.py']

model = dict(
    detector='configs/quickstart/detectors/rtmdet_synthetic.py', split=dict(type='TowerSplit')
)
load_parts = dict(
    detector=dict(checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/rtmdet/last.pth')
)
