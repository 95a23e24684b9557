# Deep Feature Flow, trained end to end (DFF Tables 3 and 4: 73.1 mAP, frame 73.9, key frame every
# 10 frames).
#
#   python tools/train.py configs/flow/flownet-s_flying-chairs.py
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
    '../_base_/schedules/sgd_imagenet_det_vid.py',
]

model = dict(
    _delete_=True,
    type='VideoDetector',
    detector=_base_.model,
    temporal=_base_.temporal,
)

# The detector starts from ImageNet classification, the flow network from Flying Chairs.
load_parts = dict(
    flow=dict(
        part='temporal',
        prefix='temporal',
        checkpoint='work_dirs/flownet-s_flying-chairs/last.pth',
    )
)

# The schedule is that of the frame-by-frame detector (configs/rfcn/rfcn_r101_imagenet-det-vid.py).
# The paper trains 60,000 iterations of 8 images.
# The bias of the scale field stays at one, as in the original.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'temporal.scale.bias': dict(lr_mult=0.0)}))
