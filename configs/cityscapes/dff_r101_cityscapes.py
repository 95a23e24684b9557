# Deep Feature Flow on Cityscapes, trained end to end (DFF Tables 3 and 4: mIoU 69.2, frame 71.1,
# key frame every 5 frames).
#
#   python tools/train.py configs/flow/flownet-s_flying-chairs.py
#   torchrun --nproc_per_node=8 tools/train.py configs/cityscapes/dff_r101_cityscapes.py \
#       --launcher pytorch
#   torchrun --nproc_per_node=8 tools/test.py configs/cityscapes/dff_r101_cityscapes.py \
#       work_dirs/dff_r101_cityscapes/last.pth --launcher pytorch
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/flownet_s.py',
    './_base_/network.py',
    './_base_/data.py',
]
custom_imports = dict(imports=['semidff.registry', 'semidff.utils.mmseg_extra'])

model = dict(type='VideoDetector', detector=_base_.network, temporal=_base_.temporal)
load_parts = dict(
    flow=dict(
        part='temporal',
        prefix='temporal',
        checkpoint='work_dirs/flownet-s_flying-chairs/last.pth',
    )
)

# 20,000 iterations of 8 images (section 5.1); momentum and weight decay as for detection.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20_000)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=1.25e-4),
    # The bias of the scale field stays at one, as in the original.
    paramwise_cfg=dict(bias_decay_mult=0.0, custom_keys={'temporal.scale.bias': dict(lr_mult=0.0)}),
)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[15_000], gamma=0.1)]
auto_scale_lr = dict(enable=False, base_batch_size=8)
