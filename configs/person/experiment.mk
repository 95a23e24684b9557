# Both stages and their tests on real footage: a template for your own data.
#
#   DATA_ROOT=data/person TRUNK=data/weights/resnet18.pth make -f configs/person/experiment.mk

OUT ?= work_dirs/person
INTERVALS ?= 5 10 15 20
RENDER ?= two-step/l10
include configs/_base_/experiment.mk

P := configs/person
STAGE_ONE := $(OUT)/stage_one/last.pth
FLOW := $(RUN)/flow/last.pth
OPTIONS_flow := model.temporal.flow_network.width=0.125

# Only pairs with true optical flow, for the row flow.
$(OUT)/dataset/world.json:
	$(BEGIN)
	@$(PYTHON) tools/make_synthetic.py $(@D) --stills 0 --videos 0 --train 0 --val 0 --dev 0 $(END)

$(call train,flow,configs/quickstart/flow_synthetic.py,$(OUT)/dataset/world.json)
# All seeds share one detector; they differ in what is trained on the videos.
$(call shared,stage_one,$P/rfcn_person.py)
$(call train,two_step,$P/two_step_person.py,$(STAGE_ONE))
$(call train,fix_task,$P/two_step_fix-task_person.py,$(STAGE_ONE))
$(call train,sem,$P/sem_person.py,$(STAGE_ONE))
$(call joined,flow_detector,$(STAGE_ONE),$(FLOW))

$(foreach m,frame copy track interpolate,$(call row,$m,$m,$P/rfcn_person.py,$(STAGE_ONE)))
$(call row,flow,propagate,$P/two_step_person.py,$(RUN)/flow_detector/last.pth)
$(call row,reg,propagate,$P/two_step_person.py,$(RUN)/two_step/regression.pth)
$(call row,sem,propagate,$P/two_step_person.py,$(RUN)/sem/last.pth)
$(call row,two-step,propagate,$P/two_step_person.py,$(RUN)/two_step/last.pth)
$(call row,centered,centered,$P/two_step_person.py,$(RUN)/two_step/last.pth)
$(call row,fix-task,propagate,$P/two_step_person.py,$(RUN)/fix_task/last.pth)
$(call row,fix-task-centered,centered,$P/two_step_person.py,$(RUN)/fix_task/last.pth)
