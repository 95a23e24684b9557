# Stage one with every convention of the original code (docs/parity.md).  Set
# model.backbone.init_cfg.checkpoint to MSRA's ResNet-101 with RGB input.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101_original.py',
    '../_base_/datasets/original_pipelines.py',
    '../_base_/schedules/sgd_imagenet_det_vid.py',
]
