# Deep Feature Flow with every convention of the original code (docs/parity.md), for its converted
# checkpoints and for trainings that are compared with it.
#
#   python tools/test.py configs/dff/dff_r101-original.py CONVERTED.pth
#
# A training starts from MSRA's ResNet-101 with RGB input and from a flow network of Flying Chairs:
#
#   python tools/train.py configs/dff/dff_r101-original.py \
#       --cfg-options model.detector.backbone.init_cfg.checkpoint=FILE
#
# or from a converted checkpoint: --cfg-options load_from=CONVERTED.pth load_parts=None
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101_original.py',
    '../_base_/models/flownet_s.py',
    '../_base_/datasets/original_pairs.py',
    '../_base_/schedules/sgd_imagenet_det_vid.py',
]

model = dict(
    _delete_=True,
    type='VideoDetector',
    detector=_base_.model,
    # The frames are not divided by standard deviations, so they are divided by 255 here.
    temporal=dict(_base_.temporal, flow_network=dict(type='FlowNetS', input_scale=1 / 255)),
)

load_parts = dict(
    flow=dict(
        part='temporal',
        prefix='temporal',
        checkpoint='work_dirs/flownet-s_flying-chairs/last.pth',
    )
)

# The bias of the scale field stays at one, as in the original.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'temporal.scale.bias': dict(lr_mult=0.0)}))
