default_scope = 'mmdet'
custom_imports = dict(imports=['semidff.registry'])

# Hooks that every training needs are default hooks, so that configs that build on this one can set
# `custom_hooks` without removing them.  None switches a hook off.
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', interval=500, by_epoch=False, save_last=True, max_keep_ckpts=2
    ),
    # writes `last.pth`, the result of a training whatever its last iteration is
    last_checkpoint=dict(type='LastCheckpointHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    channels_last=dict(type='ChannelsLastHook'),
    seed=dict(type='SeedHook'),
    finite_loss=dict(type='FiniteLossHook'),
    load_parts=dict(type='LoadPartsHook'),  # loads what the top-level setting `load_parts` names
    class_names=dict(type='ClassNamesHook'),
    # images of stage two in TensorBoard; no effect on other trainings
    distillation_images=dict(type='DistillationVisualizationHook', interval=1000),
)

env_cfg = dict(
    cudnn_benchmark=False,  # frames have many sizes, each of which would be benchmarked
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),  # tools/train.py and tools/test.py use gloo without a GPU
)
model_wrapper_cfg = dict(
    type='MMDistributedDataParallel',
    device_ids=None,  # the model is on its device; PyTorch refuses a list of devices on a CPU
    broadcast_buffers=False,  # batch norm is frozen: the buffers are equal in all processes
    # Every trained weight has a gradient in every iteration (zeros for still pairs).
    find_unused_parameters=False,
)

vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)

randomness = dict(seed=0)
log_level = 'INFO'
load_from = None
resume = False
