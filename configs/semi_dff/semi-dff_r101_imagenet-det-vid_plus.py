# semi-DFF++ of Table 4 (73.23 mAP): three times the pairs and the iterations.  The paper does not
# name the added frames; here every frame of the snippets can be drawn.
#
#   echo 'Data/VID/train/*/*' > data/ILSVRC2015/vid_train_snippets.txt
_base_ = './semi-dff_r101_imagenet-det-vid.py'

# One window is one snippet, from which each pass draws one pair: random access to frames in folders
# is cheap.
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            ann_file=_base_.data_root + 'vid_train_snippets.txt',
            data_prefix=None,
            lists='videos',
            window=1_000_000,
        )
    )
)
steps = _base_.train_cfg.steps
steps[0].iters *= 3
steps[1].iters *= 3
train_cfg = dict(steps=steps)
