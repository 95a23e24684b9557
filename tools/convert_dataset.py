"""Convert ImageNet VID, ImageNet DET or Cityscapes to COCO-VID json."""

from semidff import commands

if __name__ == '__main__':
    commands.convert_dataset()
