# Stage one as in the authors' code: 2 passes over the images and their mirror images, 4 images per
# iteration, learning rate x 0.1 after 1.333 passes, no warm-up.
#
# The authors *add* the gradients of the 4 images (lr 2.5e-4, weight decay 5e-4).  Here they are
# averaged, so that lr x 4 and weight decay / 4 give the same updates.  With fewer GPUs use
# `tools/train.py --accumulate`, which keeps the 4 images.  For another number of images per
# iteration scale the iterations and milestones; auto_scale_lr.enable=True scales lr.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=53_639)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=1.25e-4),
    # MXNet decays weights and the scales of batch norm, but no biases and shifts.
    paramwise_cfg=dict(bias_decay_mult=0.0),
)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[35_750], gamma=0.1)]
auto_scale_lr = dict(enable=False, base_batch_size=4)
