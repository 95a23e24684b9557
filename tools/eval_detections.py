"""Evaluate a file of detections with the ImageNet VID metric."""

from semidff import commands

if __name__ == '__main__':
    commands.eval_detections()
