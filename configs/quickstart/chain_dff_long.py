"""The long preset with the supervised variants of Deep Feature Flow, three seeds.

python tools/chain.py configs/quickstart/chain_dff_long.py

It works in the long preset's folder: what chain_long.py has done is not done again.
"""

_base_ = ['./chain_long.py', './_base_/dff_chain.py']

steps = [*_base_.steps, *_base_._dff_steps]
rows = [*_base_.rows, *_base_._dff_rows]
