# Stage two of semi-DFF in two steps (semi-DFF 3.4, 3.5).
#
# As the authors: intervals of 1 to 9 frames in the regression step, where the loss of a still pair
# is zero, and of 0 to 9 in the semantic step, where still pairs keep the heads accurate on key
# frames.
with_still_pairs = dict(dataset=dict(dataset=dict(interval=dict(low=0))))

# Each step: 2 passes over 57,834 pairs and their mirror images, 4 per iteration.
train_cfg = dict(
    steps=[
        dict(
            name='reg',
            iters=57_834,
            objectives=[dict(type='FeatureRegression')],
            trainable=['temporal'],
        ),
        dict(
            name='sem',
            iters=57_834,
            # 0.5: the authors' weight of the RoIs' four box outputs, of which they have eight
            objectives=[
                dict(type='FeatureSemantics', temperature=1.0, box_weight=1.0, roi_box_weight=0.5)
            ],
            trainable=['temporal', 'task_network'],
            train_dataloader=with_still_pairs,
        ),
    ],
)

# The learning rate is constant, there is no decay; the gradient is the mean over the images.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='RMSpropMX', lr=5e-5),
    paramwise_cfg=dict(custom_keys={'temporal.scale.bias': dict(lr_mult=0.0)}),
)
