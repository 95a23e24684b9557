"""Pre-training of all four stages of ResNet-18 by classification of generated crops."""

_base_ = ['../crops_synthetic.py']

model = dict(
    backbone=dict(num_stages=4, strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1), out_indices=(3,)),
    in_channels=512,
)
