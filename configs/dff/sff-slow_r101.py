# SFF-slow: SFF-fast with the most accurate setting of the optical flow (DFF Tables 3 and 4: 70.7,
# with SIFT-Flow).
_base_ = './sff-fast_r101.py'

model = dict(temporal=dict(flow_network=dict(preset='slow')))
