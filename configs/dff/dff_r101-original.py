# Deep Feature Flow with every convention of the original code (docs/parity.md): for its converted
# checkpoints,
#
#   python tools/test.py configs/dff/dff_r101-original.py CONVERTED.pth
#
# and for trainings end to end that are to be compared with it.  Weights to train from: load_parts.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101_original.py',
    '../_base_/models/flownet_s.py',
    '../_base_/datasets/original_pairs.py',
    '../_base_/schedules/sgd_imagenet.py',
]

model = dict(
    _delete_=True,
    type='VideoDetector',
    detector=_base_.model,
    # Frames have unit deviation here, so they are divided by 255 as in the original.
    temporal=dict(_base_.temporal, flow_network=dict(type='FlowNetS', input_scale=1 / 255)),
    data_preprocessor=_base_.data_preprocessor,
)

# 2 passes over 111,473 images and their mirror images, 4 per iteration
train_cfg = dict(max_iters=111_473)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[74_297], gamma=0.1)]
# The scale field's bias stays at one in the original.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'temporal.scale.bias': dict(lr_mult=0.0)}))

test_cfg = dict(method='propagate', key_interval=10)
