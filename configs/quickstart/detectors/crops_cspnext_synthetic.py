"""Pre-training of RTMDet-tiny's backbone by classification of generated crops."""

_base_ = ['../crops_synthetic.py', './_base_/backbones.py']

model = dict(backbone=dict(_delete_=True, **_base_.cspnext, out_indices=(4,)), in_channels=384)
