# Labeled images of ImageNet DET (53,639) and labeled video frames of ImageNet VID (57,834, 15 of
# each snippet), joined to one list of 111,473.
#
#   python tools/convert_dataset.py imagenet-vid --ann-dir data/ILSVRC2015/Annotations/VID \
#       --image-set data/ILSVRC2015/ImageSets/VID_train_15frames.txt \
#       --out data/ILSVRC2015/annotations/imagenet_vid_train_15frames.json
#
# Without that list use any lists of snippets (--image-set ImageSets/VID/train_1.txt ...) and
# --frames-per-video 15.
_base_ = './imagenet_det.py'

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
        _delete_=True,
        type='SampleStream',
        # semi-DFF 4.2, and the authors' code of both papers.  DFF 5.1 states a ratio of 2:1
        # instead, see the configs with the suffix -2to1.
        dataset=dict(type='ConcatDataset', datasets=[imagenet_vid, _base_.imagenet_det]),
    )
)
