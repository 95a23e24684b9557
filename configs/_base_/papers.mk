# The rows of semi-DFF's Tables 1 to 4 and of DFF's Tables 4 (whose variants are those of its Table 3) and 5, with the
# papers' mAP on ImageNet VID, - where the papers have none; and the settings of their ablations.

PAPERS ?= 1 2 3a 3b 3c 3d 3e 3f 3g 4 dff-4 dff-5
# labeled images only
TABLE_1 += frame=59.31 copy=54.12 flow=55.05 reg=57.51 sem=58.15 two-step=58.68
TABLE_2 += frame=59.31 two-step=58.68 yolo=51.65 ssd=56.33 dff-fix-n=59.54
TABLE_3a += reg=57.51 generative=54.79
TABLE_3b += reg=57.51 steady=54.13 l1=55.55
TABLE_3c += sem=58.15 classes=55.54 classes-attention=55.76 classes-boxes=57.75
TABLE_3d += sem=58.15 t2=58.07 t4=58.16 t10=57.85 t-inf=57.81
TABLE_3e += sem=58.15 temporal=57.94 temporal-spatial=53.38
TABLE_3f += two-step=58.68 joint=58.08
TABLE_3g += two-step=58.68 two-step-l5=59.05 two-step-l15=57.68 two-step-l20=57.35
# labeled images and video frames
TABLE_4 += vid-frame=74.10 vid-copy=65.61 vid-flow=67.32 vid-dff-no-pretraining=70.54 vid-dff=72.93 vid-yolo=60.00 \
  vid-ssd=65.54 vid-reg=71.14 vid-sem=71.96 vid-two-step=72.65 vid-two-step-l5=73.59 vid-two-step-l15=71.31 \
  vid-two-step-l20=70.42 vid-plus=73.23
TABLE_dff-4 += vid-frame=73.9 vid-flow=67.4 vid-dff=73.1 vid-dff-fix-n=72.3 vid-dff-fix-f=68.8 vid-sff-slow=70.7 \
  vid-sff-fast=69.7
# Rows of the tables are compared with these.
REFERENCES = $(if $(filter 1 2 3%,$(TABLES)),frame copy) $(if $(filter 4 dff-%,$(TABLES)),vid-frame vid-copy)

# Rows of Table 3 that differ from reg or sem in a setting of the step.
OBJECTIVE := train_cfg.steps.0.objectives.0
CHANGE_steady := $(OBJECTIVE).type=SteadyFeatures train_dataloader.dataset.dataset.triplets=True
CHANGE_l1 := $(OBJECTIVE).norm=l1
CHANGE_classes := $(OBJECTIVE).attention=False $(OBJECTIVE).boxes=False
CHANGE_classes-attention := $(OBJECTIVE).boxes=False
CHANGE_classes-boxes := $(OBJECTIVE).attention=False
CHANGE_t2 := $(OBJECTIVE).temperature=2.0
CHANGE_t4 := $(OBJECTIVE).temperature=4.0
CHANGE_t10 := $(OBJECTIVE).temperature=10.0
CHANGE_temporal := train_cfg.steps.0.trainable=[temporal]
CHANGE_temporal-spatial := train_cfg.steps.0.trainable=[temporal,task_network,feature_network]
REG_ABLATIONS := steady l1
SEM_ABLATIONS := classes classes-attention classes-boxes t2 t4 t10 temporal temporal-spatial
