"""Stage two of small detectors, with the flow network at 1/4 of its width.

At 3/8 of its width, FlowNetS takes a fifth of the time of RTMDet-tiny and YOLOX-tiny, at 1/4 a ninth (640 x 640).
"""

_base_ = ['./stage_two.py']

model = dict(temporal=dict(flow_network=dict(width=1 / 4)))
load_parts = dict(
    flow=dict(checkpoint='{{$EXPERIMENT_DIR:work_dirs/quickstart_detectors}}/flow_quarter/last.pth')
)
