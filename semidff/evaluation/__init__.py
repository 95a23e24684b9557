"""Metrics: ImageNet VID mAP, also by motion speed; gap recovery; end-point error of optical flow."""

from .detections_file import evaluate_detections_file
from .metrics import EndPointErrorMetric, gap_recovery
from .motion_speed import SPEEDS, ap_by_speed, motion_iou, speed_of
from .vid_ap import Detections, GroundTruth, mean_ap
from .vid_evaluator import VIDEvaluator, VIDResult
from .vid_metric import VIDMetric
from .video_iou_metric import VideoIoUMetric
