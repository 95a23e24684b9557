# DFF with FlowNet Half (DFF Table 7, Figure 3).
_base_ = './dff_r101_cityscapes.py'

model = dict(temporal=dict(flow_network=dict(width=0.5)))
load_parts = dict(flow=dict(checkpoint='work_dirs/flownet-half_flying-chairs/last.pth'))
