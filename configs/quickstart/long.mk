# semi_dff.mk on a larger data set, with longer trainings and three seeds: two hours on two cores.
#
#   make -f configs/quickstart/long.mk

OUT ?= work_dirs/quickstart_long
SEEDS ?= 0 1 2
DATASET ?= --preset long
# For more than three times as many videos.
CACHE := model.feature_cache=4.0
# A network on the current frame, which the papers do not have.
CURRENT := model.temporal.correction_width=48 model.temporal.current_width=64
OPTIONS_flow := train_cfg.max_iters=2000 param_scheduler.0.total_steps=2000
OPTIONS_stage_one := train_cfg.max_iters=900 param_scheduler.0.total_steps=900
# The semantic step has the peak learning rate of sem: 8e-4 needs about half as many iterations as 5e-4.
OPTIONS_two_step := train_cfg.steps.0.iters=3000 train_cfg.steps.1.iters=6000 \
  train_cfg.steps.1.param_scheduler.0.eta_max=0.0008 $(CACHE)
OPTIONS_sem := train_cfg.steps.0.iters=6000 $(CACHE)
OPTIONS_two_step_current := $(OPTIONS_two_step) $(CURRENT)
include configs/quickstart/semi_dff.mk

$(call train,two_step_current,$Q/two_step_synthetic.py,$(STAGE_ONE))
$(call row,two-step-current,propagate,$Q/two_step_synthetic.py,$(RUN)/two_step_current/last.pth,,,$(CURRENT))
