# semi-dff_r101_imagenet-det-vid.py with the backbone of the papers, see
# configs/rfcn/rfcn_r101-caffe_imagenet-det-vid.py.
_base_ = './semi-dff_r101_imagenet-det-vid.py'

model = dict(
    detector=dict(
        data_preprocessor=dict(
            mean=[103.06, 115.90, 123.15], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
        ),
        backbone=dict(style='caffe'),
    ),
    temporal=dict(flow_network=dict(input_scale=1 / 255)),
)
load_parts = dict(detector=dict(checkpoint='work_dirs/rfcn_r101-caffe_imagenet-det-vid/last.pth'))
