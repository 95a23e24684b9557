# make demo: train an image detector on labeled stills, then make it faster with unlabeled videos (tools/adapt.py), in
# about 16 minutes on two idle cores.
#
# The videos have larger frames than the stills. Their objects are about as fast as those of ImageNet VID: 40 % of the
# boxes are slow, 39 % medium and 21 % fast (ImageNet VID: 38, 36 and 26 %).

OUT ?= work_dirs/quickstart_adapt
MINUTES ?= 12
DATASET ?= --videos 0 --train 0 --val 0 --dev 0 --flow 0
FOOTAGE ?= --stills 0 --train 0 --val 8 --dev 0 --flow 0 --height 288 --width 384 --eval-length 61
include configs/quickstart/_base_/trainings.mk

ADAPTED := $(OUT)/adapted
.DEFAULT_GOAL := demo
.PHONY: demo
demo: $(ADAPTED)/.done
	@sed '/^## /,$$d' $(ADAPTED)/report.md && echo 'More in $(ADAPTED)/report.md'

$(OUT)/footage/world.json:
	$(BEGIN)
	@$(PYTHON) tools/make_synthetic.py $(@D) $(FOOTAGE) $(END)

# The report exists before the adaptation is finished.
$(ADAPTED)/.done: $(STAGE_ONE) $(OUT)/footage/world.json
	$(BEGIN)
	@$(PYTHON) tools/adapt.py $Q/rfcn_synthetic.py $(STAGE_ONE) $(OUT)/footage/videos --labels $(OUT)/footage/val.json \
	  --minutes $(MINUTES) --anyway --out $(@D) $(END)
	@touch $@
