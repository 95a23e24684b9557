# DFF without flow pre-training (semi-DFF Table 4): the flow network starts at random, as semi-DFF's.
_base_ = './dff_r101_imagenet-det-vid.py'

load_parts = None
