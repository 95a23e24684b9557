# Labeled images: ImageNet DET, the 30 classes of VID (53,639 images).
#
#   python tools/convert_dataset.py imagenet-det --ann-dir data/ILSVRC2015/Annotations/DET \
#       --image-set data/ILSVRC2015/ImageSets/DET_train_30classes.txt \
#       --out data/ILSVRC2015/annotations/imagenet_det_train_30classes.json
data_root = 'data/ILSVRC2015/'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1000, 600), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]

imagenet_det = dict(
    type='ImageNetDETDataset',
    data_root=data_root,
    ann_file='annotations/imagenet_det_train_30classes.json',
    data_prefix=dict(img='Data/DET/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline,
)

# The papers use 4 GPUs with one image each.  On one GPU set train_dataloader.batch_size=4; images
# of different sizes are then padded to a common size.
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='StreamSampler'),
    dataset=dict(type='SampleStream', dataset=imagenet_det),
)
