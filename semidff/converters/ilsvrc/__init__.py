"""ImageNet DET and VID in ILSVRC2015's layout to COCO-VID json."""
