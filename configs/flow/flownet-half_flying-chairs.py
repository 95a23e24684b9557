# FlowNet Half (DFF Table 7) on Flying Chairs.
_base_ = './flownet-s_flying-chairs.py'

model = dict(temporal=dict(flow_network=dict(width=0.5)))
