# DFF separate (Tables 3 and 4: 67.4): the detector as trained on single frames and the flow network
# as trained on Flying Chairs, put together without further training:
#
#   python tools/convert_checkpoint.py join \
#       --part spatial.detector=work_dirs/rfcn_r101_imagenet-det-vid/last.pth \
#       --part temporal=work_dirs/flownet-s_flying-chairs/last.pth:temporal \
#       --out work_dirs/dff_r101_separate/last.pth
#   python tools/test.py configs/dff/dff_r101_separate.py work_dirs/dff_r101_separate/last.pth
_base_ = './dff_r101_imagenet-det-vid.py'

# Nothing is trained.
train_dataloader = None
train_cfg = None
optim_wrapper = None
param_scheduler = None
load_parts = None
