"""The same detector with torchvision's pooling, which rounds boxes to cells of 16 pixels.

The third side of the comparison, see rfcn_original-conventions_world.py.
"""

_base_ = ['./rfcn_mmdet-conventions_world.py']

model = dict(roi_head=dict(bbox_head=dict(pooling=dict(type='PSRoIPool'))))
