# semi-DFF with every convention of the original code (docs/parity.md), two-step as the authors'
# published configuration. Stage one: configs/rfcn/rfcn_r101-original_imagenet-det-vid.py.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101_original.py',
    '../_base_/models/flownet_s.py',
    '../_base_/datasets/original_unlabeled.py',
    '../_base_/schedules/rmsprop_two_step.py',
]

detector = _base_.model
detector.backbone.init_cfg = None  # stage one has all of its weights

model = dict(
    _delete_=True,
    type='SemiDFF',
    detector=detector,
    # The frames are not divided by standard deviations, so they are divided by 255 here.
    temporal=dict(_base_.temporal, flow_network=dict(type='FlowNetS', input_scale=1 / 255)),
)

load_parts = dict(
    detector=dict(
        part='spatial.detector',
        checkpoint='work_dirs/rfcn_r101-original_imagenet-det-vid/last.pth',
    )
)

# The heads have the original's eight box outputs, all of which are compared.
steps = _base_.train_cfg.steps
steps[1].objectives[0].roi_box_weight = 1.0
train_cfg = dict(steps=steps)
