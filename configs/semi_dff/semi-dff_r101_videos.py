# semi-DFF on unlabeled video files: stage two of semi-dff_r101_imagenet-det.py with a list of your
# own.
#
#   mkdir -p data && printf '%s\n' '/recordings/*.mp4' /other/gate.mp4 > data/videos.txt
#   torchrun --nproc_per_node=4 tools/train.py configs/semi_dff/semi-dff_r101_videos.py \
#       --launcher pytorch
#
# Relative paths in the list start at data/. Another detector: --cfg-options
# load_parts.detector.checkpoint=FILE, with the settings of its config. Shorter steps: --cfg-options
# train_cfg.steps.0.iters=1000 train_cfg.steps.1.iters=1000.
_base_ = './semi-dff_r101_imagenet-det.py'

# Random access to a video file decodes up to a whole group of pictures; 8 pairs share one pass over
# 32 frames.
train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        dataset=dict(
            ann_file='data/videos.txt',
            data_prefix=None,
            lists='videos',
            clip_interval=False,
            window=32,
            pairs_per_window=8,
            interleave=4,
        )
    ),
)
