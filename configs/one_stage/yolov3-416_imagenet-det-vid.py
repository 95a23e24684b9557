# In place of YOLOv2-416 of semi-DFF Table 4 (60.00 mAP): as yolov3-416_imagenet-det.py, with
# as many passes over images and video frames.
_base_ = './yolov3-416_imagenet-det.py'

imagenet_vid = dict(
    type='ImageNetVIDDataset',
    data_root=_base_.data_root,
    ann_file='annotations/imagenet_vid_train_15frames.json',
    data_prefix=dict(img='Data/VID/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=_base_.train_pipeline,
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='ConcatDataset',
            datasets=[imagenet_vid, dict(_base_.imagenet_det, pipeline=_base_.train_pipeline)],
        )
    )
)
train_cfg = dict(max_iters=278_684)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=False, milestones=[104_507, 156_759], gamma=0.1),
]
