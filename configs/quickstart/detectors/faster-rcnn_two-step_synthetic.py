"""Stage two on generated data: Faster R-CNN on unlabeled videos."""

_base_ = ['./_base_/stage_two.py']

model = dict(
    detector='configs/quickstart/detectors/faster-rcnn_synthetic.py',
    split=dict(type='OutputSplit'),
    temporal=dict(correction_width=32),
)
load_parts = dict(
    detector=dict(checkpoint='{{$RUN_DIR:work_dirs/quickstart_detectors}}/faster-rcnn/last.pth')
)
