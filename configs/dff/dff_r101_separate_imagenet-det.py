# "R-FCN flow" of semi-DFF Table 1 (55.05 mAP): the detector of labeled images and the flow network
# as trained on Flying Chairs, put together without further training:
#
#   python tools/convert_checkpoint.py join \
#       --part spatial.detector=work_dirs/rfcn_r101_imagenet-det/last.pth \
#       --part temporal=work_dirs/flownet-s_flying-chairs/last.pth:temporal \
#       --out work_dirs/dff_r101_separate_imagenet-det/last.pth
#   python tools/test.py configs/dff/dff_r101_separate_imagenet-det.py \
#       work_dirs/dff_r101_separate_imagenet-det/last.pth
_base_ = './dff_r101_separate.py'
