"""Corrections of mmcv, mmengine and mmdetection that their later versions may make unnecessary."""
