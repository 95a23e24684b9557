"""R-FCN, the default spatial module (semi-DFF 3.2; Dai et al., NIPS 2016)."""

from mmdet.models.detectors import TwoStageDetector
from mmdet.registry import MODELS


@MODELS.register_module()
class RFCN(TwoStageDetector):
    """Region-based fully convolutional network.

    A two-stage detector whose feature network (``backbone`` and :class:`~semidff.models.spatial.rfcn_neck.RFCNNeck`)
    ends in one map that both heads share: the first channels go to the RPN, the others to the position-sensitive
    head. Arguments are those of mmdet's ``TwoStageDetector``.
    """
