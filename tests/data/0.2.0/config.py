custom_imports = dict(
    imports=[
        'semidff.registry',
    ]
)
default_hooks = dict(
    channels_last=dict(type='ChannelsLastHook'),
    checkpoint=dict(
        by_epoch=False, interval=500, max_keep_ckpts=2, save_last=True, type='CheckpointHook'
    ),
    class_names=dict(type='ClassNamesHook'),
    distillation_images=dict(interval=1000, type='DistillationVisualizationHook'),
    finite_loss=dict(type='FiniteLossHook'),
    last_checkpoint=dict(type='LastCheckpointHook'),
    load_parts=dict(type='LoadPartsHook'),
    logger=dict(interval=50, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    seed=dict(type='SeedHook'),
    timer=dict(type='IterTimerHook'),
)
default_scope = 'mmdet'
detector_dataset = dict(
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(
            keep_ratio=True,
            scale=(
                96,
                64,
            ),
            type='Resize',
        ),
        dict(type='PackVideoFrame'),
    ],
    type='CocoDataset',
)
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
)
load_from = None
load_parts = dict(
    flow=dict(
        checkpoint='semidff::pretrained/flownet-s-eighth_synthetic.pth',
        part='temporal.flow_network',
        prefix='temporal.flow_network',
    )
)
log_level = 'INFO'
log_processor = dict(by_epoch=False, type='LogProcessor', window_size=50)
model = dict(
    both_directions=True,
    checkpoint='one.pth',
    detector=dict(
        backbone=dict(base_channels=8, depth=18, num_stages=4, type='ResNet'),
        bbox_head=dict(
            anchor_generator=dict(
                ratios=[
                    1.0,
                ],
                scales=[
                    3,
                ],
                strides=[
                    8,
                    16,
                    32,
                ],
                type='AnchorGenerator',
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            feat_channels=8,
            in_channels=8,
            num_classes=2,
            stacked_convs=1,
            type='RetinaHead',
        ),
        data_preprocessor=dict(
            mean=[
                120.0,
                120.0,
                120.0,
            ],
            pad_size_divisor=32,
            std=[
                60.0,
                60.0,
                60.0,
            ],
            type='DetDataPreprocessor',
        ),
        neck=dict(
            in_channels=[
                8,
                16,
                32,
                64,
            ],
            num_outs=3,
            out_channels=8,
            start_level=1,
            type='FPN',
        ),
        test_cfg=dict(
            max_per_img=12,
            min_bbox_size=0,
            nms=dict(iou_threshold=0.5, type='nms'),
            nms_pre=60,
            score_thr=0.3,
        ),
        type='RetinaNet',
    ),
    feature_cache=0.01,
    non_key_test_cfg=None,
    split=dict(type='OutputSplit'),
    temporal=dict(
        correction_width=64,
        current_width=64,
        flow_network=dict(downsampling=2, stride=8, type='FlowNetS', width=0.125),
        init_std=None,
        type='TemporalModule',
    ),
    type='SemiDFF',
)
model_wrapper_cfg = dict(
    broadcast_buffers=False,
    device_ids=None,
    find_unused_parameters=False,
    type='MMDistributedDataParallel',
)
optim_wrapper = dict(
    clip_grad=dict(max_norm=0.1),
    optimizer=dict(fused=True, lr=0.0008, type='Adam'),
    type='BFloat16OptimWrapper',
)
randomness = dict(seed=0)
recommended = dict(key_interval=3, method='blend', scale=1.0, smooth=0, smooth_boxes=2)
resume = False
train_cfg = dict(
    steps=[
        dict(
            iters=3,
            name='regression',
            objectives=[
                dict(type='FeatureRegression'),
            ],
            param_scheduler=[
                dict(by_epoch=False, eta_max=0.0008, total_steps=3, type='OneCycleLR'),
            ],
            trainable=[
                'temporal',
            ],
        ),
        dict(
            iters=3,
            name='semantic',
            objectives=[
                dict(type='FeatureSemantics'),
            ],
            param_scheduler=[
                dict(by_epoch=False, eta_max=0.0008, total_steps=3, type='OneCycleLR'),
            ],
            train_dataloader=dict(dataset=dict(dataset=dict(interval=dict(low=0)))),
            trainable=[
                'temporal',
                'task_network',
            ],
        ),
    ],
    type='DistillationLoop',
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        dataset=dict(
            ann_file='videos/train.txt',
            cache_bytes=536870912,
            interleave=8,
            interval=dict(high=19, low=1, type='UniformInterval'),
            pairs_per_window=8,
            pipeline=[
                dict(
                    auto_remap=True,
                    share_random_params=True,
                    transforms=[
                        dict(
                            keep_ratio=True,
                            scale=(
                                96,
                                64,
                            ),
                            type='Resize',
                        ),
                    ],
                    type='TransformBroadcaster',
                ),
                dict(type='PackFramePair'),
            ],
            portion=1.0,
            type='UnlabeledVideoDataset',
            window=20,
        ),
        type='SampleStream',
    ),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='StreamSampler'),
)
vis_backends = [
    dict(type='LocalVisBackend'),
    dict(type='TensorboardVisBackend'),
]
visualizer = dict(
    name='visualizer',
    type='DetLocalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
        dict(type='TensorboardVisBackend'),
    ],
)
