"""Pictures of the distillation, drawn in a real training."""

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from semidff.engine.hooks.distillation_visualization_hook import (
    undisturbed,
    view_distillation,
)
from semidff.visualization.propagation import (
    MARGIN,
    PANEL,
)
from tests.tiny_video import build, frame, video_detector_cfg


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A list of one video, a folder of frames."""
    path = tmp_path_factory.mktemp('video')
    (path / 'frames').mkdir()
    for index in range(6):
        cv2.imwrite(str(path / 'frames' / f'{index}.png'), frame(2, index))
    (path / 'list.txt').write_text('frames\n')
    return path


def model_cfg() -> dict:
    """A tiny detector with its teacher."""
    return dict(video_detector_cfg(), type='SemiDFF')


def train(folder, name: str, interval: int) -> Runner:
    """Four iterations of regression; returns the runner."""
    flip = dict(
        type='TransformBroadcaster',
        share_random_params=True,
        transforms=[dict(type='RandomFlip', prob=0.5)],
    )
    dataset = dict(
        type='UnlabeledVideoDataset',
        ann_file=str(folder / 'list.txt'),
        pipeline=[flip, dict(type='PackFramePair')],
    )
    step = dict(
        name='reg',
        iters=4,
        objectives=[dict(type='FeatureRegression')],
        trainable=['temporal'],
    )
    cfg = dict(
        default_scope='mmdet',
        custom_imports=dict(imports=['semidff.registry']),
        work_dir=str(folder / name),
        experiment_name=name,
        model=model_cfg(),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='StreamSampler', seed=0),
            dataset=dict(type='SampleStream', dataset=dataset),
        ),
        train_cfg=dict(type='DistillationLoop', steps=[step]),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            pictures=dict(type='DistillationVisualizationHook', interval=interval, score_thr=0.0),
        ),
        visualizer=dict(
            type='DetLocalVisualizer',
            name=name,
            vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
        ),
        log_processor=dict(by_epoch=False),
        randomness=dict(seed=0),
    )
    runner = Runner.from_cfg(Config(cfg))
    runner.train()
    return runner


def test_training_is_the_same_with_and_without_pictures(folder):
    with_pictures, after = train(folder, 'with', 2), torch.rand(3)
    without, after_without = train(folder, 'without', 0), torch.rand(3)
    weights = with_pictures.model.state_dict()
    assert all(
        torch.equal(value, weights[key]) for key, value in without.model.state_dict().items()
    )
    assert torch.equal(after, after_without)
    assert with_pictures.model.temporal.training
    assert not with_pictures.model.spatial.training

    pictures = sorted(path.name for path in (folder / 'with').glob('*/vis_data/vis_image/*'))
    assert pictures == ['distillation_1.png', 'distillation_2.png', 'distillation_4.png']
    assert not list((folder / 'without').glob('*/vis_data/vis_image/*'))
    events = next((folder / 'with').glob('*/vis_data/events*'))
    images = EventAccumulator(str(events.parent), size_guidance=dict(images=0)).Reload()
    assert [event.step for event in images.Images('distillation')] == [1, 2, 4]
    assert images.Images('distillation')[0].width == round((5 * PANEL + MARGIN) * 110)


def pair(key: int, current: int) -> tuple[torch.Tensor, object]:
    """Two frames of a video as the data loader gives them, and the current one's data sample."""
    from mmdet.structures import DetDataSample

    frames = torch.stack([torch.from_numpy(frame(2, i)).permute(2, 0, 1) for i in (key, current)])
    size = frames.shape[-2:]
    # an original twice as large: boxes must come in the network's pixels all the same
    meta = dict(
        img_shape=tuple(size), ori_shape=(2 * size[0], 2 * size[1]), scale_factor=(0.5, 0.5),
        key_frame_id=key, frame_id=current,
    )  # fmt: skip
    return frames, DetDataSample(metainfo=meta)


def test_view_of_a_still_pair_has_equal_features_and_boxes():
    model = build(model_cfg(), seed=3)
    frames, sample = pair(1, 1)
    with undisturbed(model):
        view = view_distillation(model, frames, sample)
    assert torch.equal(view.propagated, view.key_features)
    torch.testing.assert_close(view.target, view.key_features)
    torch.testing.assert_close(view.student.bboxes, view.teacher.bboxes)
    assert len(view.teacher) > 0
    assert view.teacher.bboxes[:, 2].max() <= 96
    assert 'pred_instances' not in sample
    assert sample.scale_factor == (0.5, 0.5)


def test_heads_that_subtract_a_border_find_none():
    """CenterNet needs the border that its stock test pipeline pads."""
    cfg = model_cfg()
    cfg['temporal'].update(feat_channels=8, feat_strides=(4,))
    cfg['detector'] = dict(
        type='CenterNet',
        backbone=dict(type='ResNet', depth=18, base_channels=8),
        neck=dict(
            type='CTResNetNeck',
            in_channels=64,
            num_deconv_filters=(16, 8, 8),
            num_deconv_kernels=(4, 4, 4),
            use_dcn=False,
        ),
        bbox_head=dict(type='CenterNetHead', in_channels=8, feat_channels=8, num_classes=2),
        test_cfg=dict(topk=10, local_maximum_kernel=3, max_per_img=10),
    )
    view = view_distillation(build(cfg), *pair(0, 4))
    assert len(view.student) == len(view.teacher) == 10


def test_undisturbed_restores_each_modules_mode_and_the_generator():
    model = build(model_cfg()).train()
    model.temporal.flow_network.conv1.eval()
    before = {name: module.training for name, module in model.named_modules()}
    state = torch.random.get_rng_state()
    with undisturbed(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
        torch.rand(7)
    assert before == {name: module.training for name, module in model.named_modules()}
    assert torch.equal(state, torch.random.get_rng_state())
