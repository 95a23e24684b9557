"""Frames with detections or labels, and the panels beside them."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData

from semidff.apis import VideoInferencer
from semidff.datasets.video_readers import open_any
from semidff.inference import MethodError
from semidff.visualization.frames import (
    KEY_COLOR,
    class_color,
    drawable,
    flow_panel,
    render_frame,
    render_scaled,
    scale_panel,
)
from tests.tiny.videos import build, frame, test_settings, write_videos

GRAY = np.full((80, 120, 3), 90, np.uint8)


def sample(score: float = 0.9, box=(30.0, 30, 70, 60), **metainfo) -> DetDataSample:
    boxes, scores, labels = torch.tensor([box]), torch.tensor([score]), torch.tensor([1])
    found = InstanceData(bboxes=boxes, scores=scores, labels=labels)
    return DetDataSample(metainfo=metainfo, pred_instances=found)


def draw(result: DetDataSample, classes=('a', 'b'), **options) -> np.ndarray:
    return render_frame(GRAY, result, classes, **options)


def test_boxes_above_the_threshold_are_drawn():
    assert tuple(draw(sample())[60, 50]) == class_color(1)
    assert (GRAY == 90).all() and (draw(sample(score=0.2)) == GRAY).all()
    huge = draw(sample(box=(-1e12, 30, 1e12, 60)))
    assert (huge[60] == class_color(1)).all()
    colors = np.array([class_color(label) for label in range(30)]).astype(int)
    assert np.abs(colors[1:] - colors[:-1]).max(axis=1).min() > 60, 'neighboring classes differ'


def test_an_identity_has_its_own_color_in_any_class():
    for label, identity, color in ((1, 4, 4), (0, 4, 4), (1, -1, 1)):
        result = sample()
        result.pred_instances.labels = torch.tensor([label])
        result.pred_instances.instances_id = torch.tensor([identity])
        assert tuple(draw(result)[60, 50]) == class_color(color)


def test_key_frames_have_a_border():
    assert tuple(draw(sample(0.0, is_key_frame=True))[40, 0]) == KEY_COLOR
    assert tuple(draw(sample(0.0))[40, 0]) == (90, 90, 90)


def test_masks_are_drawn():
    masked = sample()
    masked.pred_instances.masks = torch.zeros(1, 80, 120, dtype=torch.bool)
    masked.pred_instances.masks[0, 40:50, 40:50] = True
    changed = draw(masked) != draw(sample())
    assert changed[40:50, 40:50].any(-1).all() and changed.any(-1).sum() == 100


def test_label_maps_leave_the_background_as_it_is():
    labels = torch.zeros((1, *GRAY.shape[:2]), dtype=torch.long)
    labels[:, :40] = 1
    segmented = DetDataSample(pred_sem_seg=PixelData(data=labels))
    drawn = draw(segmented, ('background', 'b'))
    assert (drawn[40:] == GRAY[40:]).all()
    assert np.abs(drawn[:40] - (90 + np.array(class_color(1), float)) / 2).max() <= 1
    assert (draw(segmented)[40:] != GRAY[40:]).any()


def test_names_stay_inside_the_picture():
    drawn = draw(sample(box=(100.0, 30, 118, 60)), ('a', 'a'))
    middle = draw(sample(), ('a', 'a'))
    assert (drawn[:28] != 90).any(-1).sum() == (middle[:28] != 90).any(-1).sum()
    # the best one's name hides the others'
    many = sample()
    many.pred_instances = InstanceData.cat([many.pred_instances] * 2)
    many.pred_instances.labels[1] = 0
    many.pred_instances.scores[1] = 0.4
    assert (draw(many, ('mmmm', 'a'))[13:28, 29:60] == middle[13:28, 29:60]).all()


def test_names_in_other_letters_differ(monkeypatch, log):
    drawn = [draw(sample(), ('a', name)) for name in ('дом', 'лес', 'ñandú')]
    assert not (drawn[0] == drawn[1]).all() and not (drawn[1] == drawn[2]).all()
    monkeypatch.setattr('matplotlib.font_manager.fontManager.ttflist', [])
    drawable.cache_clear()
    drawn = [draw(sample(), ('a', name)) for name in ('汽车', '\\u6c7d\\u8f66', '行人')]
    drawable.cache_clear()
    assert (drawn[0] == drawn[1]).all() and not (drawn[0] == drawn[2]).all()
    assert r"letters of the class name '汽车', which is drawn as \u6c7d\u8f66" in log.text


def test_scaled_first_and_drawn_then(monkeypatch):
    monkeypatch.setattr('semidff.visualization.frames.MAX_BOXES', 1)
    many = InstanceData.cat([sample().pred_instances] * 3)
    many.scores = torch.tensor([0.9, 0.8, 0.7])
    many.bboxes[1:] += 10
    picture = render_scaled(GRAY, many, ('a', 'b'), 240)
    assert picture.shape == (160, 240, 3)
    assert tuple(picture[120, 100]) == class_color(1)  # twice as far down
    assert tuple(picture[140, 100]) == (90, 90, 90)  # the second one is not drawn


def test_panels_stand_beside_and_leave_out_the_padding():
    flow = torch.zeros(2, 4, 6)
    flow[0] = 1.0
    result = sample()
    result.feature_flow, result.scale_field = flow, torch.full((1, 4, 6), 0.9)
    drawn = draw(result, panels=('scale', 'flow'))
    assert drawn.shape == (80, 360, 3) and (drawn[:, :120] == draw(result)).all()
    assert (drawn[:, 120:240] == scale_panel(result.scale_field, 80, 120)).all()
    assert (drawn[:, 240:] == flow_panel(flow, 80, 120)).all()
    assert draw(sample(is_key_frame=True), panels=('flow',)).shape == (80, 240, 3)
    padded = sample(img_shape=(64, 48), batch_input_shape=(64, 96))
    padded.feature_flow = flow
    flow[0, :, :3] = 0.0  # so that there is motion in the padding only
    assert (draw(padded, panels=('flow',))[:20, 120:210] == 255).all()


def test_scale_panel_is_gray_at_one():
    neutral = scale_panel(None, 80, 120)[5, 5].astype(int)
    assert neutral.max() - neutral.min() <= 2
    assert (scale_panel(torch.ones(3, 5, 8), 80, 120)[5, 5] == neutral).all()
    less, more = (
        scale_panel(torch.full((1, 5, 8), value), 80, 120)[5, 5].astype(int)
        for value in (0.91, 1.09)
    )
    assert less[0] > less[2] + 80 and more[2] > more[0] + 80  # blue, red


@pytest.fixture(scope='module')
def make(tmp_path_factory):
    """Makes inferencers of models with and without scale field."""
    folder = tmp_path_factory.mktemp('panels')
    for name, with_scale in (('two', True), ('unscaled', False)):
        settings = test_settings(write_videos(folder, (1,)), folder / 'work')
        settings['model']['temporal']['with_scale'] = with_scale
        Config(settings).dump(folder / f'{name}.py')
        state = build(settings['model'], seed=3).state_dict()
        torch.save(dict(state_dict=state), folder / f'{name}.pth')

    def inferencer(name: str = 'two', **options) -> VideoInferencer:
        files = str(folder / f'{name}.py'), str(folder / f'{name}.pth')
        return VideoInferencer(*files, 'cpu', key_interval=3, show_progress=False, **options)

    return inferencer


def test_results_have_the_fields_of_the_panels(make, tmp_path):
    video = [frame(2, index) for index in range(5)]
    plain = list(make()(video, out_video=tmp_path / 'plain.mp4'))
    shown = make(panels=('flow', 'scale'))
    both = list(shown(video, out_video=tmp_path / 'both.mp4'))
    assert [('feature_flow' in s, 'scale_field' in s) for s in both] == [
        (not s.is_key_frame,) * 2 for s in both
    ]
    assert both[1].feature_flow.shape == (2, 4, 6) and both[1].scale_field.shape == (1, 4, 6)
    assert both[1].scale_field.min() == both[1].scale_field.max() == 1, 'as it starts'
    for one, other in zip(plain, both, strict=True):
        assert 'feature_flow' not in one
        assert torch.equal(one.pred_instances.bboxes, other.pred_instances.bboxes)
    alone, beside = (
        [f.image for f in open_any(tmp_path / f'{name}.mp4')] for name in ('plain', 'both')
    )
    assert alone[0].shape == (64, 96, 3) and beside[0].shape == (64, 288, 3)
    difference = np.abs(alone[0].astype(int) - beside[0][:, :96])
    assert np.median(difference) < 8, 'the frame stands on the left'
    key, current = beside[0][:40, 96:192], beside[1][:40, 96:192]
    assert key.min() > 230, 'key frames have no flow: white'
    assert current.min() < key.min()
    [_, current] = make('unscaled', panels=('flow',))(video[:2])
    assert 'feature_flow' in current and 'scale_field' not in current


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('two', dict(panels=('flaw',)), "unknown panels .'flaw'.; choose from flow, scale"),
        ('two', dict(panels=('flow',), method='copy'), 'propagates no features'),
        ('two', dict(panels=('scale',), method='sff-fast'), 'leave out the panel scale'),
        ('unscaled', dict(panels=('flow', 'scale')), 'leave out the panel scale'),
    ],
)
def test_panels_without_a_field_are_refused(make, name, options, message):
    with pytest.raises(MethodError, match=message):
        make(name, **options)
