# semi-DFF with RetinaNet, stage two on unlabeled videos.
_base_ = './_base_/semi-dff.py'

model = dict(detector='configs/one_stage/retinanet_r50_imagenet-det.py')
load_parts = dict(
    detector=dict(
        part='spatial.detector', checkpoint='work_dirs/retinanet_r50_imagenet-det/last.pth'
    )
)
