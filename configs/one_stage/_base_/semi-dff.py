# Stage two of semi-DFF for the one-stage detectors: data, tests and steps of the R-FCN rows.  What
# the temporal module leaves open (strides and channels of the maps, scale of the input) follows
# from the detector.
_base_ = [
    '../../_base_/default_runtime.py',
    '../../_base_/datasets/imagenet_vid_unlabeled.py',
    '../../_base_/datasets/imagenet_vid_val.py',
    '../../_base_/schedules/rmsprop_two_step.py',
]

model = dict(
    type='SemiDFF',
    temporal=dict(
        type='TemporalModule', flow_network=dict(type='FlowNetS', stride=8), init_std=0.02
    ),
)
