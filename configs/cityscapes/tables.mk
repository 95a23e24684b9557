# DFF Tables 4 and 5 on Cityscapes, the paper's mIoU beside ours; three seeds.
#
#   make -f configs/cityscapes/tables.mk
#
# Trainings accumulate the gradients of 8 images on a GPU. With docs/segmentation.md's layout of the data, and Flying
# Chairs as docs/flow.md says.

OUT ?= work_dirs/cityscapes_tables
SEEDS ?= 0 1 2
INTERVALS ?= 5
PAPERS := dff-4 dff-5
TABLE_dff-4 := frame=71.1 copy=- sff-slow=67.8 sff-fast=67.3 dff=69.2 dff-fix-n=68.8 dff-fix-f=67.0 dff-no-scale=- \
  dff-separate=66.9
TABLE_dff-5 := dff=69.2 dff-split21=69.1 dff-split12=69.1 dff-split5=69.2 dff-split0=69.5
REFERENCES := frame copy
include configs/_base_/experiment.mk

FLOW := $(OUT)/flow/last.pth
FRAME := $(RUN)/frame/last.pth
EIGHT := train_cfg.accumulate=8
OPTIONS_frame := $(EIGHT)
DFF := dff dff-fix-n dff-fix-f dff-no-scale dff-split21 dff-split12 dff-split5 dff-split0
# The config of a row: of dff-fix-n dff_r101_fix-n_cityscapes.py.
config = configs/cityscapes/$(subst dff-,dff_r101_,$(patsubst dff,dff_r101,$1))_cityscapes.py

$(call shared,flow,configs/flow/flownet-s_flying-chairs.py)
$(call train,frame,$(call config,fcn_r101))
$(foreach d,$(DFF),$(eval OPTIONS_$d := $(EIGHT) load_parts.flow.checkpoint=$(FLOW) \
  $(if $(filter dff-fix-n,$d),load_parts.network.checkpoint=$(FRAME))) \
  $(call train,$d,$(call config,$d),$(FLOW) $(if $(filter dff-fix-n,$d),$(FRAME))))
$(call joined,dff-separate,$(FRAME),$(FLOW))

$(foreach m,frame copy sff-slow sff-fast,$(call row,$m,$m,$(call config,fcn_r101),$(FRAME)))
$(foreach d,$(DFF),$(call row,$d,propagate,$(call config,$d),$(RUN)/$d/last.pth))
$(call row,dff-separate,propagate,$(call config,dff),$(RUN)/dff-separate/last.pth)
