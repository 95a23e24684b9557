# The long preset with the supervised variants of Deep Feature Flow, three seeds; it uses the folder of long.mk.
#
#   make -f configs/quickstart/dff_long.mk

LENGTH := configs/quickstart/long.mk
include configs/quickstart/dff.mk
