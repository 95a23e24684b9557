"""Flow network from which stage two of all detectors starts: the quick start's stage two with R-FCN, without labels."""

_base_ = ['../two_step_synthetic.py']

load_parts = dict(
    detector=dict(checkpoint='{{$EXPERIMENT_DIR:work_dirs/quickstart_detectors}}/rfcn/last.pth')
)
