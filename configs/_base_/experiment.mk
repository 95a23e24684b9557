# Experiments: trainings, tests, the measurement of speed and the table. Each step is done if its output exists, so that
# a repeated call goes on with the first step that is not complete; an interrupted training is resumed.
#
#   make -f configs/quickstart/dff.mk SEEDS="0 1 2" OUT=work_dirs/mine
#
# docs/experiments.md has the variables and an example. `make -n -f FILE` prints the commands.

BIN ?= .venv/bin
ifndef SEEDS
SEEDS := $(or $(SEED),0)
endif
ifndef SEED
SEED := $(firstword $(SEEDS))
endif
INTERVALS ?= 10
JOBS ?= 2
REPORT ?= table
RUN := $(OUT)/seed$(SEED)
MK := $(firstword $(MAKEFILE_LIST))
# Configs refer to the folders of the experiment and of the seed.
export EXPERIMENT_DIR := $(OUT)
export RUN_DIR := $(RUN)

PYTHON ?= $(BIN)/python
LOG = $(OUT)/logs/$(patsubst $(OUT)/%,%,$(@D)).log
BEGIN = @mkdir -p $(dir $(LOG)) $(@D) && echo '$(patsubst $(OUT)/%,%,$(@D)): started, log in $(LOG)'
END = > $(LOG) 2>&1 || { tail -n 20 $(LOG); echo '$(@D) failed, log: $(LOG)'; exit 1; }
THREADS = $${OMP_NUM_THREADS:-$$(( ($$(nproc) + $(JOBS) - 1) / $(JOBS) ))}

.DEFAULT_GOAL := all
.PHONY: all rows speeds report
.PRECIOUS: $(OUT)/speed-%/speed.json %/regression.pth %/reg.pth
.SECONDEXPANSION:

all:
	+@for seed in $(SEEDS); do \
	  OMP_NUM_THREADS=$(THREADS) $(MAKE) --no-print-directory -j$(JOBS) -f $(MK) SEED=$$seed rows || exit; done
	+@$(MAKE) --no-print-directory -j1 -f $(MK) SEED=$(firstword $(SEEDS)) report

rows: $$(ROWS)

PAPER = $(foreach t,$(or $(TABLES),$(PAPERS)),$(addprefix $t:,$(TABLE_$t)))
report: $$(foreach g,$$(sort $$(GROUPS)),$$(OUT)/speed-$$g/speed.json)
	@$(PYTHON) tools/analysis/tables.py $(OUT) --seeds $(SEEDS) --report $(REPORT) --rows $(LIST) \
	  $(if $(PAPER),--paper $(PAPER))

$(OUT)/speed-%/speed.json: $$(ROWS_$$*)
	$(BEGIN)
	@$(PYTHON) tools/analysis/speed.py --rounds 10 --out $@ --overwrite $(SPEED_$*) $(if $(OPTIONS),--cfg-options) $(OPTIONS) $(END)

# $(call train,NAME,CONFIG,NEEDS): a training with the settings OPTIONS and OPTIONS_NAME, which starts again if NEEDS,
# outputs of other steps, are newer. shared: one for all seeds.
train = $(eval $(call _train,$(RUN)/$(strip $1),$(strip $1),$2,$3))
shared = $(eval $(call _train,$(OUT)/$(strip $1),$(strip $1),$2,$3))
define _train
$1/last.pth: $4
	$$(BEGIN)
	@{ test ! -e $$@ || rm -r $$(@D); } && $$(PYTHON) tools/train.py $3 --work-dir $$(@D) --resume \
	  --cfg-options randomness.seed=$$(SEED) $$(OPTIONS) $$(OPTIONS_$2) $$(END)
endef

# $(call joined,NAME,DETECTOR,FLOW): a detector with a flow network, both trained alone.
joined = $(eval $(call _joined,$(RUN)/$(strip $1),$(strip $2),$(strip $3)))
define _joined
$1/last.pth: $2 $3
	$$(BEGIN)
	@$$(PYTHON) tools/convert_checkpoint.py join --overwrite --part spatial.detector=$2 \
	  --part temporal=$3:temporal --out $$@ $$(END)
endef

# $(call row,NAME,METHOD,CONFIG,CHECKPOINT,INTERVALS,GROUP,OPTIONS): tests, one for each key-frame interval. Rows of a
# group are compared with its frame and copy. With TABLES, the rows of these tables are tested, with ONLY these rows.
row = $(if $(or $(if $(TABLES)$(ONLY),,all),$(filter $(strip $1),$(CHOSEN))),$(foreach l,\
  $(if $(filter frame,$2),1,$(or $(strip $5),$(INTERVALS))),\
  $(eval $(call _row,$(strip $1),$(strip $2),$(strip $3),$(strip $4),$l,$(or $(strip $6),all),$(strip $7)))))
CHOSEN = $(ONLY) $(REFERENCES) $(foreach t,$(TABLES),$(foreach r,$(TABLE_$t),$(firstword $(subst =, ,$r))))
define _row
GROUPS += $6
LIST += $1,$2,$5,$6
ROWS += $(RUN)/rows/$1/l$5/metrics.json
ROWS_$6 += $(RUN)/rows/$1/l$5/metrics.json
SPEED_$6 += --row $1/l$5=$(if $7,$(RUN)/rows/$1/l$5/$(notdir $3),$3),$4,$2,$5
$(RUN)/rows/$1/l$5/metrics.json: $4
	$$(BEGIN)
	@$$(PYTHON) tools/test.py $3 $4 --method $2 $(if $(filter frame,$2),,--key-interval $5) --work-dir $$(@D) \
	  --metrics-out $$@ --overwrite $(if $(filter $1/l$5-$(firstword $(SEEDS)),$(RENDER)-$(SEED)),--render $(RUN)/rows/$1/l$5/videos --render-videos 2) \
	  $$(if $$(OPTIONS)$(if $7,x),--cfg-options) $$(OPTIONS) $7 $$(END)
endef

# A training writes these, too.
%/regression.pth: %/last.pth ;
%/reg.pth: %/last.pth ;
