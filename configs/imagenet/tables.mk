# Tables 1 to 4 of semi-DFF and Tables 4 and 5 of DFF on ImageNet VID, the papers' mAP beside ours; three seeds.
#
#   make -f configs/imagenet/tables.mk TABLES="1 3a"
#
# JOBS steps run at the same time (docs/experiments.md); trainings of R-FCN accumulate the gradients of 4 images on a
# GPU, the number of the papers. The compared steps are equally long: reg, sem, each of the two steps of two-step and of
# all ablations have 57,834 iterations, as in the authors' code; joint training has the iterations of one step. two-step
# has as many semantic iterations as sem, in addition to those of reg, which is its first step.
#
# With docs/imagenet.md's layout of the data, and Flying Chairs as docs/flow.md says.

OUT ?= work_dirs/tables
SEEDS ?= 0 1 2
# Detectors of one stage, in place of YOLOv2 YOLOv3; the papers have no RetinaNet, and no semi-DFF with any of them.
ONE_STAGE := yolo ssd retinanet vid-yolo vid-ssd
CONFIG_yolo := yolov3-416
CONFIG_ssd := ssd300
CONFIG_retinanet := retinanet_r50
TABLE_2 := retinanet=- $(foreach d,yolo ssd retinanet,$d-copy=- $d-semi-dff=-)
TABLE_4 := $(foreach d,vid-yolo vid-ssd,$d-copy=- $d-semi-dff=-)
TABLE_dff-4 := vid-dff-no-scale=-
# Table 5: layers of N_task.
TABLE_dff-5 := vid-dff=73.1 vid-dff-split21=73.2 vid-dff-split12=73.3 vid-dff-split5=73.2 vid-dff-split0=72.7
include configs/_base_/papers.mk
include configs/_base_/experiment.mk

# 4 images for each update
FOUR := train_cfg.accumulate=4
SEMI := semi_dff/semi-dff_r101_imagenet-det
FLOW := $(OUT)/flow/last.pth
FROM = load_parts.detector.checkpoint=$(RUN)/$1/last.pth

# $(call labeled,NAME,CONFIG,SETTINGS): a training of a detector.
labeled = $(eval OPTIONS_$1 := $3 $(call caffe,$2,train))$(call train,$1,configs/$2.py)
# $(call stage_two,NAME,CONFIG,DETECTOR,SETTINGS)
stage_two = $(eval OPTIONS_$1 := $(FOUR) $(call FROM,$(or $3,rfcn)) $4 $(call caffe,$2,train)) \
  $(call train,$1,configs/$2.py,$(RUN)/$(or $3,rfcn)/last.pth)
# $(call dff,NAME,VARIANT,DETECTOR): a training of supervised DFF.
dff = $(eval OPTIONS_$1 := $(FOUR) $(if $(filter no-pretraining,$2),,load_parts.flow.checkpoint=$(FLOW)) \
  $(if $3,$(call FROM,$3)) $(call caffe,dff/dff_r101_$2,train)) \
  $(call train,$1,configs/dff/dff_r101_$2.py,$(if $(filter no-pretraining,$2),,$(FLOW)) $(if $3,$(RUN)/$3/last.pth))

$(eval OPTIONS_flow := $(call caffe,flow/flownet-s_flying-chairs,train))
$(call shared,flow,configs/flow/flownet-s_flying-chairs.py)
# labeled images only
$(call labeled,rfcn,rfcn/rfcn_r101_imagenet-det,$(FOUR))
$(call joined,joined,$(RUN)/rfcn/last.pth,$(FLOW))
$(call stage_two,two_step,$(SEMI))
$(call stage_two,sem,$(SEMI)_sem)
$(call stage_two,generative,$(SEMI)_reg_generative)
$(call stage_two,joint,$(SEMI)_joint)
$(call stage_two,t-inf,$(SEMI)_sem_t-inf)
$(foreach a,$(REG_ABLATIONS),$(call stage_two,$a,$(SEMI)_reg,,$(CHANGE_$a)))
$(foreach a,$(SEM_ABLATIONS),$(call stage_two,$a,$(SEMI)_sem,,$(CHANGE_$a)))
$(call dff,dff_fix-n,fix-n_imagenet-det,rfcn)
# labeled images and video frames
$(call labeled,vid_rfcn,rfcn/rfcn_r101_imagenet-det-vid,$(FOUR))
$(call joined,vid_joined,$(RUN)/vid_rfcn/last.pth,$(FLOW))
$(call dff,vid_dff,imagenet-det-vid)
$(call dff,vid_dff_fix-n,fix-n,vid_rfcn)
$(foreach v,no-pretraining fix-f split21 split12 split5 split0 no-scale,$(call dff,vid_dff_$v,$v))
$(call stage_two,vid_two_step,$(SEMI)-vid,vid_rfcn)
$(call stage_two,vid_sem,$(SEMI)-vid_sem,vid_rfcn)
$(call stage_two,vid_plus,$(SEMI)-vid_plus,vid_rfcn)

# $(call tested,NAME,CONFIG,TRAINING,METHOD,INTERVALS,CHECKPOINT)
tested = $(call row,$1,$(or $4,propagate),configs/$2.py,$(RUN)/$3/$(or $6,last).pth,$5,$(or $(GROUP),\
  $(if $(filter vid-%,$1),videos,images)),$(call caffe,$2))
DFF := dff/dff_r101_imagenet-det-vid
$(call tested,frame,rfcn/rfcn_r101_imagenet-det,rfcn,frame)
$(call tested,copy,rfcn/rfcn_r101_imagenet-det,rfcn,copy)
$(call tested,flow,dff/dff_r101_separate_imagenet-det,joined)
$(call tested,reg,$(SEMI),two_step,,,reg)
$(call tested,sem,$(SEMI),sem)
$(call tested,two-step,$(SEMI),two_step)
$(foreach l,5 15 20,$(call tested,two-step-l$l,$(SEMI),two_step,,$l))
$(call tested,dff-fix-n,dff/dff_r101_fix-n_imagenet-det,dff_fix-n)
$(call tested,generative,$(SEMI)_reg_generative,generative)
$(foreach a,$(REG_ABLATIONS) $(SEM_ABLATIONS) t-inf joint,$(call tested,$a,$(SEMI),$a))
$(call tested,vid-frame,rfcn/rfcn_r101_imagenet-det-vid,vid_rfcn,frame)
$(call tested,vid-copy,rfcn/rfcn_r101_imagenet-det-vid,vid_rfcn,copy)
$(call tested,vid-flow,dff/dff_r101_separate,vid_joined)
$(call tested,vid-dff,$(DFF),vid_dff)
$(foreach v,no-pretraining fix-n fix-f,$(call tested,vid-dff-$v,$(DFF),vid_dff_$v))
$(foreach v,split21 split12 split5 split0 no-scale,$(call tested,vid-dff-$v,dff/dff_r101_$v,vid_dff_$v))
$(foreach m,slow fast,$(call tested,vid-sff-$m,dff/sff-$(m)_r101,vid_rfcn))
$(call tested,vid-reg,$(SEMI)-vid,vid_two_step,,,reg)
$(call tested,vid-sem,$(SEMI)-vid,vid_sem)
$(call tested,vid-two-step,$(SEMI)-vid,vid_two_step)
$(foreach l,5 15 20,$(call tested,vid-two-step-l$l,$(SEMI)-vid,vid_two_step,,$l))
$(call tested,vid-plus,$(SEMI)-vid,vid_plus)

# $(call one_stage,NAME,CONFIG): a detector of one stage, and semi-DFF with it, a group of their own.
one_stage = $(call labeled,$1,$2_imagenet-det$(if $(filter vid-%,$1),-vid),$(if $(filter retinanet,$1),$(FOUR))) \
  $(call stage_two,$1-semi-dff,$2_semi-dff,$1)$(eval GROUP := $1) \
  $(call tested,$1,$2_imagenet-det,$1,frame)$(call tested,$1-copy,$2_imagenet-det,$1,copy) \
  $(call tested,$1-semi-dff,$2_semi-dff,$1-semi-dff)
$(foreach d,$(ONE_STAGE),$(call one_stage,$d,one_stage/$(CONFIG_$(d:vid-%=%))))
