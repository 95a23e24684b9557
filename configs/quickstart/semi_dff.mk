# Both stages and their tests on generated data: less than 25 minutes on two cores with bfloat16 instructions, an hour on
# two without.
#
#   make -f configs/quickstart/semi_dff.mk

OUT ?= work_dirs/quickstart
include configs/quickstart/_base_/trainings.mk

$(call row,frame,frame,$Q/rfcn_synthetic.py,$(STAGE_ONE))
$(call row,copy,copy,$Q/rfcn_synthetic.py,$(STAGE_ONE))
$(call row,track,track,$Q/rfcn_synthetic.py,$(STAGE_ONE))
$(call row,interpolate,interpolate,$Q/rfcn_synthetic.py,$(STAGE_ONE))
$(call row,flow,propagate,$Q/two_step_synthetic.py,$(RUN)/flow_detector/last.pth)
$(call row,reg,propagate,$Q/two_step_synthetic.py,$(RUN)/two_step/regression.pth)
$(call row,sem,propagate,$Q/two_step_synthetic.py,$(RUN)/sem/last.pth)
$(call row,two-step,propagate,$Q/two_step_synthetic.py,$(RUN)/two_step/last.pth)
