# DFF Figure 3 on ImageNet VID: mAP over speed with two feature networks and three flow networks; one seed.
#
#   make -f configs/imagenet/figure3.mk
#
# Trainings and data as in tables.mk.

OUT ?= work_dirs/figure3
INTERVALS ?= 1 2 3 5 8 10 15 20
REPORT := curve
LABELED ?= train_cfg.accumulate=4
# The configs of a detector of single frames with a depth, and of DFF with it and a flow network.
frame_config ?= configs/rfcn/rfcn_r$1_imagenet-det-vid.py
dff_config ?= configs/dff/dff_r$1$(if $(filter flownet-s,$2),_imagenet-det-vid,_$2).py
include configs/_base_/experiment.mk

FLOW_NETWORKS := flownet-s flownet-half flownet-inception
$(foreach f,$(FLOW_NETWORKS),$(call shared,$f,configs/flow/$(f)_flying-chairs.py))
$(foreach d,50 101,$(eval OPTIONS_frame-r$d := $(LABELED))$(call train,frame-r$d,$(call frame_config,$d)))
$(foreach d,50 101,$(foreach f,$(FLOW_NETWORKS),\
  $(eval OPTIONS_r$(d)_$f := $(LABELED) load_parts.flow.checkpoint=$(OUT)/$f/last.pth) \
  $(call train,r$(d)_$f,$(call dff_config,$d,$f),$(OUT)/$f/last.pth)))

$(foreach d,50 101,$(call row,frame-r$d,frame,$(call frame_config,$d),$(RUN)/frame-r$d/last.pth,,r$d))
$(foreach d,50 101,$(foreach f,$(FLOW_NETWORKS),\
  $(call row,r$(d)_$f,propagate,$(call dff_config,$d,$f),$(RUN)/r$(d)_$f/last.pth,,r$d)))
