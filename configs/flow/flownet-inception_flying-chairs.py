# FlowNet Inception (DFF Table 8) on Flying Chairs.
_base_ = './flownet-s_flying-chairs.py'

model = dict(
    temporal=dict(
        flow_network=dict(_delete_=True, type='FlowNetInception', input_scale=0.226, flow_scale=2.5)
    )
)
