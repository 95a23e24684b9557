# The generated data set and all trainings of the quick start, of which an experiment runs those that its rows need.

DATASET ?= --preset quickstart
RENDER ?= two-step/l10
include configs/_base_/experiment.mk

Q := configs/quickstart
WORLD := $(OUT)/dataset/world.json
STAGE_ONE := $(RUN)/stage_one/last.pth
STAGE_ONE_VID := $(RUN)/stage_one_vid/last.pth
FLOW := $(RUN)/flow/last.pth

$(WORLD):
	$(BEGIN)
	@$(PYTHON) tools/make_synthetic.py $(@D) $(DATASET) --workers 2 $(END)

$(call train,flow,$Q/flow_synthetic.py,$(WORLD))
$(call train,stage_one,$Q/rfcn_synthetic.py,$(WORLD))
$(call train,two_step,$Q/two_step_synthetic.py,$(STAGE_ONE))
$(call train,sem,$Q/sem_synthetic.py,$(STAGE_ONE))
# The flow network trained on true optical flow, with the detector of stage one.
$(call joined,flow_detector,$(STAGE_ONE),$(FLOW))

# Supervised Deep Feature Flow, on labeled frames of videos.
FIX_N := model.trainable=[temporal]
OPTIONS_dff_fix-n = $(FIX_N) load_parts.detector.checkpoint=$(STAGE_ONE_VID)
OPTIONS_dff_fix-f := model.trainable=[feature_network,task_network]
$(call train,stage_one_vid,$Q/rfcn_vid_synthetic.py,$(STAGE_ONE))
$(call train,dff,$Q/dff_synthetic.py,$(STAGE_ONE) $(FLOW))
$(call train,dff_fix-n,$Q/dff_synthetic.py,$(STAGE_ONE_VID) $(FLOW))
$(call train,dff_fix-f,$Q/dff_synthetic.py,$(STAGE_ONE) $(FLOW))
$(call train,dff_no-pretraining,$Q/dff_no-pretraining_synthetic.py,$(STAGE_ONE))
$(call joined,dff_separate,$(STAGE_ONE_VID),$(FLOW))
