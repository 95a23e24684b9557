# Labeled images of ImageNet DET (53,639) and labeled video frames of ImageNet VID (57,834, 15 of each
# snippet), at a ratio of 1:2.
#
#   python tools/dataset_converters/imagenet_vid.py --ann-dir data/ILSVRC2015/Annotations/VID \
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
        datasets=[imagenet_vid, _base_.imagenet_det],
        # DFF 5.1.  The authors' code has no such ratio: it joins the two lists, nearly (1, 1).
        ratio=(2, 1),
    )
)
