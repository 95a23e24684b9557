# FlowNetS at 1/8 of its width on generated pairs.  The result is beside this file,
# flownet-s-eighth_synthetic.pth; tools/adapt.py starts from it.
#
#   python tools/make_synthetic.py data/synthetic_flow --flow 6000 --height 288 --width 384 \
#       --stills 0 --videos 0 --train 0 --val 0 --dev 0
#   python tools/train.py configs/pretrained/flownet-s-eighth_synthetic.py
#   python tools/convert_checkpoint.py join \
#       --out configs/pretrained/flownet-s-eighth_synthetic.pth --part \
#       temporal.flow_network=work_dirs/flownet-s-eighth_synthetic/last.pth:temporal.flow_network
_base_ = '../flow/flownet-s_flying-chairs.py'

data_root = 'data/synthetic_flow/flow/'
pairs = dict(data_root=data_root, ann_file='split.txt', data_prefix=dict(img=''))

model = dict(temporal=dict(flow_network=dict(width=1 / 8)))
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        dataset=dict(
            **pairs,
            pipeline=[
                dict(type='LoadFlowPair'),
                dict(type='RandomFlipFlowPair'),
                dict(type='PackFlowPair'),
            ],
        )
    ),
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=pairs)
test_dataloader = val_dataloader

iters = 16_000
train_cfg = dict(max_iters=iters, val_interval=4000)
optim_wrapper = dict(
    _delete_=True,
    type='BFloat16OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-3, fused=True),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=iters, by_epoch=False),
]
