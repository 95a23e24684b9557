"""Row *generative* of semi-DFF Table 3a on generated data: predicted residuals, no warp."""

_base_ = ['./reg_synthetic.py']

model = dict(
    temporal=dict(
        _delete_=True,
        type='ResidualModule',
        flow_network=_base_.temporal.flow_network,
        feat_channels=_base_.temporal.feat_channels,
    )
)
