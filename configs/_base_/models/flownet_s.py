# Temporal module of semi-DFF 3.3 / 3.5: FlowNetS initialized with N(0, 0.02), scale field at one.
temporal = dict(
    type='TemporalModule',
    flow_network=dict(
        type='FlowNetS',
        width=1.0,
        # The original divides mean-subtracted frames by 255.  Here they have been divided by
        # torchvision's standard deviations, 57.6 on average.
        input_scale=0.226,
        flow_scale=2.5,
    ),
    feat_channels=1024,
    feat_strides=(16,),
    init_std=0.02,
)
