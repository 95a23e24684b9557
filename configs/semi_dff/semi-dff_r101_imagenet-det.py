# semi-DFF, stage two in two steps (semi-DFF 3.4, 3.5; Table 1: 58.68 mAP, R-FCN frame 59.31).
#
#   torchrun --nproc_per_node=4 tools/train.py configs/rfcn/rfcn_r101_imagenet-det.py \
#       --launcher pytorch
#   torchrun --nproc_per_node=4 tools/train.py configs/semi_dff/semi-dff_r101_imagenet-det.py \
#       --launcher pytorch
#   torchrun --nproc_per_node=4 tools/test.py configs/semi_dff/semi-dff_r101_imagenet-det.py \
#       work_dirs/semi-dff_r101_imagenet-det/last.pth --launcher pytorch
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101.py',
    '../_base_/models/flownet_s.py',
    '../_base_/datasets/imagenet_vid_unlabeled.py',
    '../_base_/datasets/imagenet_vid_val.py',
    '../_base_/schedules/rmsprop_two_step.py',
]

detector = _base_.model
detector.backbone.init_cfg = None  # stage one has all of its weights

model = dict(
    _delete_=True,
    type='SemiDFF',
    detector=detector,
    temporal=_base_.temporal,
)

load_parts = dict(
    detector=dict(part='spatial.detector', checkpoint='work_dirs/rfcn_r101_imagenet-det/last.pth')
)
