default_scope = 'mmdet'
custom_imports = dict(imports=['semidff'])

# What every training needs is a default hook, not a custom one: configs that build on this one set
# `custom_hooks` without taking anything away.  None switches a hook off.
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', interval=500, by_epoch=False, save_last=True, max_keep_ckpts=2
    ),
    # `last.pth`: one name for the result of a training, whatever its last iteration is
    last_checkpoint=dict(type='LastCheckpointHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    channels_last=dict(type='ChannelsLastHook'),
    seed=dict(type='SeedHook'),
    finite_loss=dict(type='FiniteLossHook'),
    load_parts=dict(type='LoadPartsHook'),  # what the top-level setting `load_parts` names
    # pictures of stage two in TensorBoard; other trainings have none
    distillation_images=dict(type='DistillationVisualizationHook', interval=1000),
)

env_cfg = dict(
    cudnn_benchmark=False,  # frames come in many sizes, and each would be measured anew
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(
        backend='nccl'
    ),  # tools/train.py and tools/test.py take gloo where there is no GPU
)
model_wrapper_cfg = dict(
    type='MMDistributedDataParallel',
    device_ids=None,  # the model is on its device already; a list of devices is refused on a CPU
    broadcast_buffers=False,  # frozen batch norm: the buffers are equal everywhere and stay so
    # Every part that learns has a gradient in every iteration, still pairs (zeros) included, so the
    # graph need not be searched.  Set True for a semantic loss without some of its terms (Table 3c)
    # while the task network learns.
    find_unused_parameters=False,
)

vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)

randomness = dict(seed=0)
log_level = 'INFO'
load_from = None
resume = False
