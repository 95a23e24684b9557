# semi-DFF in two steps on Cityscapes: the network of fcn_r101_cityscapes.py teaches the temporal
# module on the unlabeled frames of the training snippets. There is no such row in the papers.
#
#   torchrun --nproc_per_node=4 tools/train.py configs/cityscapes/semi-dff_r101_cityscapes.py \
#       --launcher pytorch
_base_ = './dff_r101_cityscapes.py'

detector = _base_.network
detector.backbone.init_cfg = None  # stage one has all of its weights

model = dict(_delete_=True, type='SemiDFF', detector=detector, temporal=_base_.temporal)
load_parts = dict(
    _delete_=True,
    network=dict(part='spatial.detector', checkpoint='work_dirs/fcn_r101_cityscapes/last.pth'),
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='SampleStream',
        dataset=dict(
            type='UnlabeledVideoDataset',
            ann_file=_base_.data_root + 'train.txt',
            interval=dict(type='UniformInterval', low=1, high=9),
            window=30,
            pairs_per_window=8,
            interleave=2,
            pipeline=[
                dict(
                    type='TransformBroadcaster',
                    auto_remap=True,
                    share_random_params=True,
                    transforms=[dict(type='RandomFlip', prob=0.5)],
                ),
                dict(type='PackFramePair'),
            ],
        ),
    ),
)

# Each step: 23,800 pairs of a pass over 2,975 snippets, 4 per iteration.
_iters = 5_950
train_cfg = dict(
    _delete_=True,
    steps=[
        dict(
            name='reg',
            iters=_iters,
            objectives=[dict(type='FeatureRegression')],
            trainable=['temporal'],
        ),
        dict(
            name='sem',
            iters=_iters,
            objectives=[dict(type='FeatureSemantics')],
            trainable=['temporal', 'task_network'],
            # Still pairs keep the task network accurate on the key frames' own features.
            train_dataloader=dict(dataset=dict(dataset=dict(interval=dict(low=0)))),
        ),
    ],
)
# As the authors of semi-DFF: a constant learning rate.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='RMSpropMX', lr=5e-5),
    paramwise_cfg=dict(custom_keys={'temporal.scale.bias': dict(lr_mult=0.0)}),
)
param_scheduler = None
