# Stage one with every convention of the original code (docs/parity.md).  ImageNet weights of the
# backbone: model.backbone.init_cfg.checkpoint, MSRA's ResNet-101 with red first.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101_original.py',
    '../_base_/datasets/original_pipelines.py',
    '../_base_/schedules/sgd_imagenet.py',
]

train_cfg = dict(max_iters=111_473)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[74_297], gamma=0.1)]
