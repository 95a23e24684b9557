"""Metrics: ImageNet VID mAP, also by motion speed; gap recovery; end-point error of flow."""

from .metrics import EndPointErrorMetric, gap_recovery
from .motion_speed import SPEEDS, ap_by_speed, motion_iou, speed_of
from .vid_ap import Detections, GroundTruth, mean_ap
from .vid_evaluator import VIDEvaluator, VIDResult, evaluate_detections_file
from .vid_metric import VIDMetric
from .video_iou_metric import VideoIoUMetric
