"""Stage two on generated data: RTMDet-tiny on unlabeled videos."""

_base_ = ['./_base_/rtmdet.py', './_base_/stage_two.py']

model = dict(
    _delete_=True,
    detector=_base_.model,
    split=dict(type='TowerSplit'),
    **_base_.video_detector,
)
load_parts = dict(
    detector=dict(
        part='spatial.detector',
        checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/rtmdet/last.pth',
    )
)
