# Segmentation with all variants of Deep Feature Flow (DFF Tables 3 and 4): more videos, longer trainings, three seeds.
#
#   make -f configs/quickstart/segmentation_long.mk

OUT ?= work_dirs/quickstart_segmentation_long
SEEDS ?= 0 1 2
INTERVALS ?= 5 10
DATASET ?= --preset quickstart --label-maps 1 --videos 400
SUPERVISED := train_cfg.max_iters=400 param_scheduler.0.total_steps=400
OPTIONS_fcn := $(SUPERVISED)
OPTIONS_fcn_vid := $(SUPERVISED)
OPTIONS_fcn_dff := $(SUPERVISED)
OPTIONS_fcn_dff_fix-n = $(FIX_N) load_parts.network.checkpoint=$(FCN_VID) $(SUPERVISED)
OPTIONS_fcn_dff_fix-f = $(OPTIONS_dff_fix-f) $(SUPERVISED)
# The cache is for more than three times as many videos.
OPTIONS_fcn_two_step := load_parts.flow.part=temporal.flow_network load_parts.flow.prefix=temporal.flow_network \
  load_parts.flow.checkpoint=$(OUT)/video_flow/last.pth train_cfg.steps.0.iters=300 train_cfg.steps.1.iters=9000 \
  model.feature_cache=4.0
include configs/quickstart/segmentation.mk

# A flow network, trained without labels of videos, from which stage two of all seeds starts.
$(call shared,rfcn,$Q/rfcn_synthetic.py,$(WORLD))
$(call shared,video_flow,$Q/detectors/flow_synthetic.py,$(OUT)/rfcn/last.pth)
$(RUN)/fcn_two_step/last.pth: $(OUT)/video_flow/last.pth

$(call train,fcn_dff_fix-n,$S/dff_synthetic.py,$(FCN_VID) $(FLOW))
$(call train,fcn_dff_fix-f,$S/dff_synthetic.py,$(FCN) $(FLOW))
$(call joined,fcn_dff_separate,$(FCN_VID),$(FLOW))
$(foreach v,dff_fix-n dff_fix-f dff_separate,\
  $(call row,$(subst _,-,$v),propagate,$S/dff_synthetic.py,$(RUN)/fcn_$v/last.pth,,vid))
