# semi-DFF, stage two in two steps (semi-DFF 3.4, 3.5; Table 1: 58.68 mAP, R-FCN frame 59.31).
#
#   torchrun --nproc_per_node=4 tools/train.py configs/rfcn/rfcn_r101_imagenet-det.py \
#       --launcher pytorch
#   torchrun --nproc_per_node=4 tools/train.py configs/semi_dff/semi-dff_r101_imagenet-det.py \
#       --launcher pytorch
#   torchrun --nproc_per_node=4 tools/test.py configs/semi_dff/semi-dff_r101_imagenet-det.py \
#       work_dirs/semi-dff_r101_imagenet-det/last.pth --launcher pytorch
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/rfcn_r101.py',
    '../_base_/models/flownet_s.py',
    '../_base_/datasets/imagenet_vid_unlabeled.py',
    '../_base_/datasets/imagenet_vid_val.py',
]

detector = _base_.model
detector.backbone.init_cfg = None  # stage one has all of its weights

model = dict(
    _delete_=True,
    type='SemiDFF',
    detector=detector,
    temporal=_base_.temporal,
    data_preprocessor=_base_.data_preprocessor,
)

load_parts = dict(
    detector=dict(part='spatial.detector', checkpoint='work_dirs/rfcn_r101_imagenet-det/last.pth')
)

# Both steps read the same stream.  A tenth of its pairs are still (i = k), for the semantic step.  The
# authors have none in the regression step, where their loss and gradient are zero.
train_dataloader = dict(dataset=dict(dataset=dict(interval=dict(low=0))))

# Each step: 2 passes over 57,834 pairs and their mirror images, 4 per iteration.
train_cfg = dict(
    type='DistillationLoop',
    steps=[
        dict(
            name='reg',
            iters=57_834,
            objectives=[dict(type='FeatureRegression')],
            trainable=['temporal'],
        ),
        dict(
            name='sem',
            iters=57_834,
            objectives=[dict(type='FeatureSemantics', temperature=1.0, box_weight=1.0)],
            trainable=['temporal', 'task_network'],
        ),
    ],
)

# The learning rate is constant, there is no decay; the gradient is the mean over the images.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='RMSpropMX', lr=5e-5),
    paramwise_cfg=dict(custom_keys={'temporal.scale.bias': dict(lr_mult=0.0)}),
)

test_cfg = dict(method='propagate', key_interval=10)
