# DFF without flow pre-training (semi-DFF Table 4): the flow network is initialized at random, as in
# semi-DFF.
_base_ = './dff_r101_imagenet-det-vid.py'

load_parts = None
