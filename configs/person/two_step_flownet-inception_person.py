"""Stage two with FlowNet Inception."""

_base_ = ['./two_step_person.py']

model = dict(
    temporal=dict(flow_network=dict(_delete_=True, type='FlowNetInception', input_scale=0.226))
)
