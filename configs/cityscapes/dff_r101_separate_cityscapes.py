# DFF separate (Tables 3 and 4: 66.9): the network as trained on single frames and the flow network
# as trained on Flying Chairs, joined.
#
#   python tools/convert_checkpoint.py join \
#       --part spatial.detector=work_dirs/fcn_r101_cityscapes/last.pth \
#       --part temporal=work_dirs/flownet-s_flying-chairs/last.pth:temporal \
#       --out work_dirs/dff_r101_separate_cityscapes/last.pth
#   python tools/test.py configs/cityscapes/dff_r101_separate_cityscapes.py \
#       work_dirs/dff_r101_separate_cityscapes/last.pth
_base_ = './dff_r101_cityscapes.py'

# Nothing is trained.
train_dataloader = None
train_cfg = None
optim_wrapper = None
param_scheduler = None
load_parts = None
