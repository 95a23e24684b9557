"""Pictures of the distillation, drawn in a real training."""

from pathlib import Path

import torch
from mmdet.structures import DetDataSample
from mmengine.runner import Runner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from semidff.engine.hooks.distillation_visualization_hook import undisturbed, view_distillation
from semidff.visualization.propagation import MARGIN, PANEL
from tests.tiny.training import STEPS, config, differing, run, write_videos
from tests.tiny.videos import build, frame, video_detector_cfg


def model_cfg() -> dict:
    """A tiny detector with its teacher."""
    return dict(video_detector_cfg(), type='SemiDFF')


def train(videos: Path, folder: Path, interval: int) -> Runner:
    """Four iterations of regression, without hooks that seed anew; returns the runner."""
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    visualizer = dict(type='DetLocalVisualizer', name=folder.name, vis_backends=backends)
    steps = [dict(STEPS[0], iters=4)]
    cfg = config(videos, folder, steps, custom_hooks=[], visualizer=visualizer)
    pictures = dict(type='DistillationVisualizationHook', interval=interval, score_thr=0.0)
    cfg.default_hooks.pictures = pictures
    return run(cfg)


def test_training_is_the_same_with_and_without_pictures(tmp_path):
    folder, videos = tmp_path, write_videos(tmp_path / 'videos')
    with_pictures, after = train(videos, folder / 'with', 2), torch.rand(3)
    without, after_without = train(videos, folder / 'without', 0), torch.rand(3)
    assert not differing(with_pictures.model.state_dict(), without.model.state_dict())
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
