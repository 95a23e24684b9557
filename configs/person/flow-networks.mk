# Flow networks compared on real footage: equal iterations, accuracy and speed of each.
#
#   DATA_ROOT=data/person TRUNK=data/weights/resnet18.pth make -f configs/person/flow-networks.mk

OUT ?= work_dirs/person_flow-networks
INTERVALS ?= 10 20
include configs/_base_/experiment.mk

P := configs/person
STAGE_ONE := $(OUT)/stage_one/last.pth
OPTIONS_three_eighths := model.temporal.flow_network.width=0.375
# $(call network,NAME,CONFIG)
network = $(call train,$1,$P/$2.py,$(STAGE_ONE)) \
  $(call row,$1-reg,propagate,$P/$2.py,$(RUN)/$1/regression.pth,,,$(OPTIONS_$1)) \
  $(call row,$1-two-step,propagate,$P/$2.py,$(RUN)/$1/last.pth,,,$(OPTIONS_$1))

$(call shared,stage_one,$P/rfcn_person.py)
$(call row,frame,frame,$P/rfcn_person.py,$(STAGE_ONE))
$(call row,copy,copy,$P/rfcn_person.py,$(STAGE_ONE))
$(call network,three_eighths,two_step_person)
$(call network,eighth,two_step_person)
$(call network,inception,two_step_flownet-inception_person)
