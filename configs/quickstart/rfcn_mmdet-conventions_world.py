"""Stage one with the heads of configs/rfcn: hard example mining, the original's pooling, mmdet's other conventions.

One side of a comparison, see rfcn_original-conventions_world.py; rfcn_world.py is what the quick start uses.
"""

_base_ = ['./rfcn_world.py']

model = dict(
    rpn_head=dict(anchor_generator=dict(center_offset=0.5)),
    roi_head=dict(
        bbox_head=dict(
            pooling=dict(_delete_=True, type='ExactPSRoIPool', spatial_scale=1 / 16), ohem=32
        )
    ),
    train_cfg=dict(rcnn=dict(sampler=dict(num=2000, pos_fraction=1.0))),
)
