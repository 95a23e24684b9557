# tables.mk with the backbone of the papers in all rows of R-FCN, as configs/rfcn/rfcn_r101-caffe_imagenet-det-vid.py.
#
#   make -f configs/imagenet/tables_caffe.mk TABLES="1 3a"
#
# The weights are MSRA's (OpenMMLab's copy), and so are the means, which are subtracted from BGR frames in all trainings,
# that of the flow network included.

OUT ?= work_dirs/tables_caffe
MEAN := [103.06,115.9,123.15]
STD := [1.0,1.0,1.0]
# $(call caffe,CONFIG,train): the settings of a config of tables.mk with ResNet-101, for a training or for a test. Stage
# two and fix N take their backbone from stage one.
part = $(if $(filter rfcn/% flow/%,$1),model,model.detector)
pixels = $(addprefix $(part).data_preprocessor.,mean=$(MEAN) std=$(STD) bgr_to_rgb=False)
scale = $(if $(filter rfcn/%,$1),,model.temporal.flow_network.input_scale=0.00392156862745098)
colors = $(addprefix model.temporal.flow_network.,mean=$(MEAN) std=$(STD) rgb=False)
trunk = $(if $2,$(if $(or $(filter semi_dff/%,$1),$(findstring fix-n,$1)),,\
  $(part).backbone.init_cfg.checkpoint=open-mmlab://detectron2/resnet101_caffe))
caffe = $(if $(filter one_stage/%,$1),,$(pixels) $(if $(findstring /sff-,$1),$(colors),$(scale)) \
  $(if $(filter flow/%,$1),,$(part).backbone.style=caffe $(trunk)))
include configs/imagenet/tables.mk
