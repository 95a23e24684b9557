# "Frame" of DFF Tables 3 and 4 (73.9 mAP) as DFF 5.1 states it: video frames and images at 2:1,
# 60,000 iterations of 8 images (8 GPUs, or fewer with --accumulate).  The authors' code is
# rfcn_r101_imagenet-det-vid.py.
_base_ = './rfcn_r101_imagenet-det-vid.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='SampleStream',
        datasets=[_base_.imagenet_vid, _base_.imagenet_det],
        ratio=(2, 1),
    )
)
train_cfg = dict(max_iters=60_000)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[40_000], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=8)
