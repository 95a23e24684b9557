# Flow pre-training of a temporal module.  Its file fits the detectors' `load_parts`: the scale field is
# in it, as it starts.
_base_ = ['./flownet_s.py']

model = dict(
    type='FlowPretrainer',
    # He's start, as FlowNet's; semi-DFF's N(0, 0.02) is for its training without flow
    temporal=dict(_base_.temporal, init_std=None),
    # the frames are normalized as the detectors'
    data_preprocessor=dict(
        type='VideoDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1,
    ),
)
