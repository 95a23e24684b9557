# Deep Feature Flow, trained end to end (DFF Tables 3 and 4: 73.1 mAP, frame 73.9, key frame every 10
# frames).
#
#   torchrun --nproc_per_node=4 tools/train.py configs/flow/flownet-s_flying-chairs.py \
#       --launcher pytorch
#   torchrun --nproc_per_node=4 tools/train.py configs/dff/dff_r101_imagenet-det-vid.py \
#       --launcher pytorch
#   torchrun --nproc_per_node=4 tools/test.py configs/dff/dff_r101_imagenet-det-vid.py \
#       work_dirs/dff_r101_imagenet-det-vid/last.pth --launcher pytorch
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101.py',
    '../_base_/models/flownet_s.py',
    '../_base_/datasets/imagenet_det_vid_pairs.py',
    '../_base_/datasets/imagenet_vid_val.py',
    '../_base_/schedules/sgd_imagenet.py',
]

model = dict(
    _delete_=True,
    type='VideoDetector',
    detector=_base_.model,
    temporal=_base_.temporal,
    data_preprocessor=_base_.data_preprocessor,
)

# The detector starts from ImageNet classification, the flow network from Flying Chairs.
load_parts = dict(
    flow=dict(
        part='temporal',
        prefix='temporal',
        checkpoint='work_dirs/flownet-s_flying-chairs/last.pth',
    )
)

# 2 passes over 111,473 images and their mirror images, 4 per iteration, as for the frame-by-frame
# detector (configs/rfcn/rfcn_r101_imagenet-det-vid.py); the paper: 60,000 iterations of 8.
train_cfg = dict(max_iters=111_473)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[74_297], gamma=0.1)]
# The scale field's bias stays at one in the original.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'temporal.scale.bias': dict(lr_mult=0.0)}))

test_cfg = dict(method='propagate', key_interval=10)
