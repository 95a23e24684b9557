# Accuracy over speed of a video detector (DFF Figure 3), beside its detector on every frame.
#
#   make -f configs/curve.mk CONFIG=config.py CHECKPOINT=last.pth METHODS="copy propagate" OUT=work_dirs/curve

OUT ?= work_dirs/curve
METHODS ?= propagate
INTERVALS ?= 1 2 5 10 15 20
REPORT := curve
include configs/_base_/experiment.mk

$(foreach m,frame $(METHODS),$(call row,$m,$m,$(CONFIG),$(CHECKPOINT)))
