"""Frames with detections."""

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData

from semidff.visualization.frames import (
    KEY_COLOR,
    class_color,
    drawable,
    flow_panel,
    render_frame,
    render_scaled,
    scale_panel,
)

GRAY = np.full((80, 120, 3), 90, np.uint8)


def sample(score: float = 0.9, **metainfo) -> DetDataSample:
    instances = InstanceData(
        bboxes=torch.tensor([[30.0, 30.0, 70.0, 60.0]]),
        scores=torch.tensor([score]),
        labels=torch.tensor([1]),
    )
    return DetDataSample(metainfo=metainfo, pred_instances=instances)


def test_boxes_above_the_threshold_are_drawn():
    image = GRAY.copy()
    drawn = render_frame(image, sample(), ('a', 'b'))
    assert (image == GRAY).all()
    assert tuple(drawn[60, 50]) == class_color(1)
    assert (render_frame(image, sample(score=0.2), ('a', 'b')) == GRAY).all()


def test_boxes_that_exceed_all_bounds_are_drawn():
    huge = sample()
    huge.pred_instances.bboxes = torch.tensor([[-1e12, 30, 1e12, 60]])
    drawn = render_frame(GRAY, huge, ('a', 'b'))
    assert (drawn[60] == class_color(1)).all()


def test_masks_are_drawn():
    masked = sample()
    masked.pred_instances.masks = torch.zeros(1, 80, 120, dtype=torch.bool)
    masked.pred_instances.masks[0, 40:50, 40:50] = True
    changed = render_frame(GRAY, masked, ('a', 'b')) != render_frame(GRAY, sample(), ('a', 'b'))
    assert changed[40:50, 40:50].any(-1).all() and changed.any(-1).sum() == 100


def test_names_stay_inside_the_picture():
    edge = sample()
    edge.pred_instances.bboxes = torch.tensor([[100.0, 30, 118, 60]])
    drawn = render_frame(GRAY, edge, ('a', 'a'))
    middle = render_frame(GRAY, sample(), ('a', 'a'))
    assert (drawn[:28] != 90).any(-1).sum() == (middle[:28] != 90).any(-1).sum()
    # the best one's name hides the others'
    many = sample()
    many.pred_instances = InstanceData.cat([many.pred_instances] * 2)
    many.pred_instances.labels[1] = 0
    many.pred_instances.scores[1] = 0.4
    both = render_frame(GRAY, many, ('mmmm', 'a'))
    assert (both[13:28, 29:60] == middle[13:28, 29:60]).all()


def test_names_in_other_letters_differ(monkeypatch, log):
    drawn = [render_frame(GRAY, sample(), ('a', name)) for name in ('дом', 'лес', 'ñandú')]
    assert not (drawn[0] == drawn[1]).all() and not (drawn[1] == drawn[2]).all()
    monkeypatch.setattr('semidff.visualization.frames.font_manager.fontManager.ttflist', [])
    drawable.cache_clear()
    drawn = [
        render_frame(GRAY, sample(), ('a', name)) for name in ('汽车', '\\u6c7d\\u8f66', '行人')
    ]
    drawable.cache_clear()
    assert (drawn[0] == drawn[1]).all() and not (drawn[0] == drawn[2]).all()
    assert r"letters of the class name '汽车', which is drawn as \u6c7d\u8f66" in log.text


def test_scaled_first_and_drawn_then(monkeypatch):
    monkeypatch.setattr('semidff.visualization.frames.MAX_BOXES', 1)
    many = sample()
    many.pred_instances = InstanceData.cat([many.pred_instances] * 3)
    many.pred_instances.scores = torch.tensor([0.9, 0.8, 0.7])
    many.pred_instances.bboxes[1:] += 10
    picture = render_scaled(GRAY, many.pred_instances, ('a', 'b'), 240)
    assert picture.shape == (160, 240, 3)
    assert tuple(picture[120, 100]) == class_color(1)  # twice as far down
    assert tuple(picture[140, 100]) == (90, 90, 90)  # the second one is not drawn


def test_key_frames_have_a_border():
    assert tuple(render_frame(GRAY, sample(0.0, is_key_frame=True), ('a', 'b'))[40, 0]) == KEY_COLOR
    assert tuple(render_frame(GRAY, sample(0.0), ('a', 'b'))[40, 0]) == (90, 90, 90)


def test_panels_stand_beside():
    flow = torch.zeros(2, 5, 8)
    flow[0] = 1.0
    result = sample()
    result.feature_flow, result.scale_field = flow, torch.full((1, 5, 8), 0.9)
    drawn = render_frame(GRAY, result, ('a', 'b'), panels=('scale', 'flow'))
    assert drawn.shape == (80, 360, 3)
    assert (drawn[:, :120] == render_frame(GRAY, result, ('a', 'b'))).all()
    assert (drawn[:, 120:240] == scale_panel(result.scale_field, 80, 120)).all()
    assert (drawn[:, 240:] == flow_panel(flow, 80, 120)).all()
    assert render_frame(GRAY, sample(is_key_frame=True), ('a',), panels=('flow',)).shape == (
        80,
        240,
        3,
    )


def test_panels_leave_out_the_padding():
    flow = torch.zeros(2, 4, 6)
    flow[0, :, 3:] = 1.0  # in the padding
    result = sample(img_shape=(64, 48), batch_input_shape=(64, 96))
    result.feature_flow = flow
    panel = render_frame(GRAY, result, ('a', 'b'), panels=('flow',))[:, 120:]
    assert (panel[:20, :90] == 255).all()


def test_neighboring_classes_differ():
    colors = np.array([class_color(label) for label in range(30)]).astype(int)
    assert np.abs(colors[1:] - colors[:-1]).max(axis=1).min() > 60


def test_label_maps_leave_the_background_as_it_is():
    labels = torch.zeros((1, *GRAY.shape[:2]), dtype=torch.long)
    labels[:, :40] = 1
    segmented = DetDataSample(pred_sem_seg=PixelData(data=labels))
    drawn = render_frame(GRAY, segmented, ('background', 'b'))
    assert (drawn[40:] == GRAY[40:]).all()
    assert np.abs(drawn[:40] - (90 + np.array(class_color(1), float)) / 2).max() <= 1
    assert (render_frame(GRAY, segmented, ('a', 'b'))[40:] != GRAY[40:]).any()
