# Supervised Deep Feature Flow and semi-DFF on generated data (DFF Tables 3, 4; semi-DFF Tables 2, 4).
#
#   make -f configs/quickstart/dff.mk
#
# It uses the folder of semi_dff.mk, so that its steps are not repeated. frame-vid and the rows with dff are trained on
# labeled frames of videos, the others on labeled stills only.

include $(or $(LENGTH),configs/quickstart/semi_dff.mk)

$(call row,frame-vid,frame,$Q/rfcn_vid_synthetic.py,$(STAGE_ONE_VID))
$(foreach v,dff dff_fix-n dff_fix-f dff_no-pretraining dff_separate,\
  $(call row,$(subst _,-,$v),propagate,$Q/dff_synthetic.py,$(RUN)/$v/last.pth))
