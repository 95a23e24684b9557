# Table 3a, generative method (54.79 mAP): the residual of the features is predicted, without a
# warp.  The paper does not give the layers; these are FlowNetS's.
_base_ = './semi-dff_r101_imagenet-det_reg.py'

model = dict(
    temporal=dict(
        _delete_=True,
        type='ResidualModule',
        flow_network=dict(type='FlowNetS', input_scale=0.226),
        feat_channels=1024,
    )
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(_delete_=True)))
