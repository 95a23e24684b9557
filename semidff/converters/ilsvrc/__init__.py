"""Conversion of ImageNet DET and VID from the layout of ILSVRC2015 to COCO-VID json."""
