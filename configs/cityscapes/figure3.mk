# DFF Figure 3 on Cityscapes, as configs/imagenet/figure3.mk on ImageNet VID: mIoU over speed.
#
#   make -f configs/cityscapes/figure3.mk

OUT ?= work_dirs/cityscapes_figure3
INTERVALS ?= 1 2 3 5 8 10
# 8 images for each update
LABELED := train_cfg.accumulate=8
frame_config = configs/cityscapes/fcn_r$1_cityscapes.py
dff_config = configs/cityscapes/dff_r$1$(if $(filter flownet-s,$2),,_$2)_cityscapes.py
include configs/imagenet/figure3.mk
