# FlowNetS on Flying Chairs, the initialization of the flow network in DFF (DFF section 4).
#
#   python tools/train.py configs/flow/flownet-s_flying-chairs.py
#   python tools/test.py configs/flow/flownet-s_flying-chairs.py \
#       work_dirs/flownet-s_flying-chairs/last.pth
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/flow_pretrainer.py',
    '../_base_/datasets/flying_chairs.py',
    '../_base_/schedules/adam_flying_chairs.py',
]
