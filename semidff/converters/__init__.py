"""Other people's files -> ours."""

from .ilsvrc_to_coco import ConversionReport, convert_det, convert_vid

__all__ = ['ConversionReport', 'convert_det', 'convert_vid']
