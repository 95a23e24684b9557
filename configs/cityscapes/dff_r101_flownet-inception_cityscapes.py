# DFF with FlowNet Inception (DFF Table 8, Figure 3), the smallest of the three.
_base_ = './dff_r101_cityscapes.py'

model = dict(
    temporal=dict(
        flow_network=dict(_delete_=True, type='FlowNetInception', input_scale=0.226, flow_scale=2.5)
    )
)
load_parts = dict(flow=dict(checkpoint='work_dirs/flownet-inception_flying-chairs/last.pth'))
