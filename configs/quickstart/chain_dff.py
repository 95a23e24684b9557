"""Supervised Deep Feature Flow beside semi-DFF in the generated world (DFF Tables 3, 4; semi-DFF Tables 2, 4).

python tools/chain.py configs/quickstart/chain_dff.py

It works in the quick start's folder: what `make demo` has done is not done again. *frame-vid* and the rows with *dff*
have seen labelled frames of videos, the others only labelled stills.
"""

_base_ = ['./chain.py', './_base_/dff_chain.py']

steps = [*_base_.steps, *_base_._dff_steps]
rows = [*_base_.rows, *_base_._dff_rows]
