# Flow pre-training of a temporal module.  The checkpoint fits the detectors' `load_parts`: it
# includes the scale field at its initial value.
_base_ = ['./flownet_s.py']

model = dict(
    type='FlowPretrainer',
    # He initialization as in FlowNet; semi-DFF's N(0, 0.02) is for training without true flow
    temporal=dict(_base_.temporal, init_std=None),
    # the detectors' normalization
    data_preprocessor=dict(
        type='VideoDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1,
    ),
)
