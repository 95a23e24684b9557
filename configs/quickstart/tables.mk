# Tables 1 to 4 of semi-DFF and Table 4 of DFF on generated data, the twin of configs/imagenet/tables.mk; three seeds.
#
#   make -f configs/quickstart/tables.mk TABLES="1 3a"
#
# The compared steps are equally long: reg, sem, each of the two steps of two-step and of all ablations have 1,000
# iterations at the same peak learning rate; joint training has the iterations of one step. two-step has as many semantic
# iterations as sem, in addition to those of reg, which is its first step. sem-long has as many iterations as both steps
# of two-step. The papers' mAP is that of ImageNet VID and no reference for the values, only for their order.

OUT ?= work_dirs/quickstart_tables
SEEDS ?= 0 1 2
PAPERS := 1 2 3a 3b 3c 3d 3e 3f 3g 4 dff-4
TABLE_1 := sem-long=-
include configs/_base_/papers.mk
include configs/quickstart/_base_/trainings.mk

# $(call length,STEP,ITERATIONS): the settings of a step's length and peak learning rate.
length = train_cfg.steps.$1.iters=$2 train_cfg.steps.$1.param_scheduler.0.eta_max=0.0008
# $(call stage_two,NAME,CONFIG,SETTINGS,DETECTOR)
stage_two = $(eval OPTIONS_$1 := $(call length,0,1000) $(if $(filter two_step,$2),$(call length,1,1000)) $3) \
  $(call train,$1,$Q/$2_synthetic.py,$(or $4,$(STAGE_ONE)))
VID := load_parts.detector.checkpoint=$(STAGE_ONE_VID)
OPTIONS_two_step := $(call length,0,1000) $(call length,1,1000)
OPTIONS_sem := $(call length,0,1000)
OPTIONS_dff_fix-n_stills := $(FIX_N)

$(call stage_two,sem-long,sem,$(call length,0,2000))
$(call stage_two,generative,reg_generative)
$(call stage_two,joint,joint)
$(call stage_two,t-inf,sem_t-inf)
$(foreach a,$(REG_ABLATIONS),$(call stage_two,$a,reg,$(CHANGE_$a)))
$(foreach a,$(SEM_ABLATIONS),$(call stage_two,$a,sem,$(CHANGE_$a)))
$(call train,dff_fix-n_stills,$Q/dff_synthetic.py,$(STAGE_ONE) $(FLOW))
$(call stage_two,vid_two_step,two_step,$(VID),$(STAGE_ONE_VID))
$(call stage_two,vid_sem,sem,$(VID),$(STAGE_ONE_VID))

# $(call tested,NAME,CONFIG,TRAINING,METHOD,INTERVALS,CHECKPOINT)
tested = $(call row,$1,$(or $4,propagate),$Q/$2_synthetic.py,$(RUN)/$3/$(or $6,last).pth,$5,$(if $(filter vid-%,$1),videos,images))
$(call tested,frame,rfcn,stage_one,frame)
$(call tested,copy,rfcn,stage_one,copy)
$(call tested,flow,two_step,flow_detector)
$(call tested,reg,two_step,two_step,,,regression)
$(call tested,sem,two_step,sem)
$(call tested,two-step,two_step,two_step)
$(foreach l,5 15 20,$(call tested,two-step-l$l,two_step,two_step,,$l))
$(call tested,dff-fix-n,dff,dff_fix-n_stills)
$(call tested,generative,reg_generative,generative)
$(foreach a,$(REG_ABLATIONS) $(SEM_ABLATIONS) t-inf joint sem-long,$(call tested,$a,two_step,$a))
$(call tested,vid-frame,rfcn_vid,stage_one_vid,frame)
$(call tested,vid-copy,rfcn_vid,stage_one_vid,copy)
$(call tested,vid-flow,dff,dff_separate)
$(foreach v,dff dff_fix-n dff_fix-f dff_no-pretraining,$(call tested,vid-$(subst _,-,$v),dff,$v))
$(call tested,vid-sff-slow,rfcn_vid,stage_one_vid,sff-slow)
$(call tested,vid-sff-fast,rfcn_vid,stage_one_vid,sff-fast)
$(call tested,vid-reg,two_step,vid_two_step,,,regression)
$(call tested,vid-sem,two_step,vid_sem)
$(call tested,vid-two-step,two_step,vid_two_step)
$(foreach l,5 15 20,$(call tested,vid-two-step-l$l,two_step,vid_two_step,,$l))
