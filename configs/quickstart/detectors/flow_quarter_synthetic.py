"""The flow network at 1/4 of its width, from which stage two of small detectors starts."""

_base_ = ['./flow_synthetic.py']

model = dict(temporal=dict(flow_network=dict(width=1 / 4)))
