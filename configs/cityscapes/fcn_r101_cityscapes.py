# Image segmentation on the labeled frames of Cityscapes (DFF Table 4, Frame: mIoU 71.1).
_base_ = './dff_r101_cityscapes.py'

model = dict(_delete_=True, **_base_.network)
load_parts = dict(_delete_=True)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            **_base_.train_set,
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadLabelMap'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmseg.PackSegInputs'),
            ],
        )
    )
)
