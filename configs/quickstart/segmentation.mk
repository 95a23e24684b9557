# Deep Feature Flow and semi-DFF for semantic segmentation on generated data.
#
#   make -f configs/quickstart/segmentation.mk
#
# frame-vid, copy-vid and dff are trained on labeled frames of videos, the others on labeled stills only.

OUT ?= work_dirs/quickstart_segmentation
DATASET ?= --preset quickstart --label-maps 1
include configs/quickstart/_base_/trainings.mk

S := $Q/segmentation
FCN := $(RUN)/fcn/last.pth
FCN_VID := $(RUN)/fcn_vid/last.pth

$(call train,fcn,$S/fcn_synthetic.py,$(WORLD))
$(call train,fcn_vid,$S/fcn_vid_synthetic.py,$(FCN))
$(call train,fcn_two_step,$S/two_step_synthetic.py,$(FCN) $(FLOW))
$(call train,fcn_dff,$S/dff_synthetic.py,$(FCN) $(FLOW))
$(call joined,fcn_flow,$(FCN),$(FLOW))

$(call row,frame,frame,$S/fcn_synthetic.py,$(FCN),,stills)
$(call row,copy,copy,$S/fcn_synthetic.py,$(FCN),,stills)
$(call row,sff,sff-fast,$S/fcn_synthetic.py,$(FCN),,stills)
$(call row,flow,propagate,$S/two_step_synthetic.py,$(RUN)/fcn_flow/last.pth,,stills)
$(call row,reg,propagate,$S/two_step_synthetic.py,$(RUN)/fcn_two_step/regression.pth,,stills)
$(call row,two-step,propagate,$S/two_step_synthetic.py,$(RUN)/fcn_two_step/last.pth,,stills)
$(call row,frame-vid,frame,$S/fcn_vid_synthetic.py,$(FCN_VID),,vid)
$(call row,copy-vid,copy,$S/fcn_vid_synthetic.py,$(FCN_VID),,vid)
$(call row,dff,propagate,$S/dff_synthetic.py,$(RUN)/fcn_dff/last.pth,,vid)
