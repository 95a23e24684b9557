# Stage one, as the authors' code: 2 passes over the images and their mirror images, 4 images per
# iteration, learning rate x 0.1 after 1.333 passes, no warm-up.
#
# There the gradients of the 4 images are *added*, with lr 2.5e-4 and weight decay 5e-4; here they
# are averaged, and the same updates are: lr x 4, weight decay / 4.  For another batch size (images
# per GPU x GPUs x accumulation) scale the iterations; auto_scale_lr.enable=True scales lr.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=53_639)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=1.25e-4),
    # MXNet decays weights and batch norm's scales, but neither biases nor shifts.
    paramwise_cfg=dict(bias_decay_mult=0.0),
)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[35_750], gamma=0.1)]
auto_scale_lr = dict(enable=False, base_batch_size=4)
