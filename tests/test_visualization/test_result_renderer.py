"""Drawing and writing of videos."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from semidff.visualization.frames import (
    KEY_COLOR,
    class_color,
    flow_panel,
    render_frame,
    render_scaled,
    scale_panel,
)
from semidff.visualization.result_renderer import ResultRenderer, VideoWriter

GRAY = np.full((80, 120, 3), 90, np.uint8)


def sample(score: float = 0.9, **metainfo) -> DetDataSample:
    instances = InstanceData(
        bboxes=torch.tensor([[30.0, 30.0, 70.0, 60.0]]),
        scores=torch.tensor([score]),
        labels=torch.tensor([1]),
    )
    return DetDataSample(metainfo=metainfo, pred_instances=instances)


def frames_in(path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def test_boxes_above_the_threshold_are_drawn():
    image = GRAY.copy()
    drawn = render_frame(image, sample(), ('a', 'b'), is_key=False)
    assert (image == GRAY).all()
    assert tuple(drawn[60, 50]) == class_color(1)
    assert (render_frame(image, sample(score=0.2), ('a', 'b'), is_key=False) == GRAY).all()


def test_names_stay_inside_the_picture():
    edge = sample()
    edge.pred_instances.bboxes = torch.tensor([[100.0, 30, 118, 60]])
    drawn = render_frame(GRAY, edge, ('a', 'a'), is_key=False)
    middle = render_frame(GRAY, sample(), ('a', 'a'), is_key=False)
    assert (drawn[:28] != 90).any(-1).sum() == (middle[:28] != 90).any(-1).sum()
    # the best one's name hides the others'
    many = sample()
    many.pred_instances = InstanceData.cat([many.pred_instances] * 2)
    many.pred_instances.labels[1] = 0
    many.pred_instances.scores[1] = 0.4
    both = render_frame(GRAY, many, ('mmmm', 'a'), is_key=False)
    assert (both[13:28, 29:60] == middle[13:28, 29:60]).all()


def test_scaled_first_and_drawn_then():
    many = sample()
    many.pred_instances = InstanceData.cat([many.pred_instances] * 3)
    many.pred_instances.scores = torch.tensor([0.9, 0.8, 0.7])
    many.pred_instances.bboxes[1:] += 10
    picture = render_scaled(GRAY, many.pred_instances, ('a', 'b'), 240, max_boxes=1)
    assert picture.shape == (160, 240, 3)
    assert tuple(picture[120, 100]) == class_color(1)  # twice as far down
    assert tuple(picture[140, 100]) == (90, 90, 90)  # the second one is not drawn


def test_key_frames_have_a_border():
    assert tuple(render_frame(GRAY, sample(0.0), ('a', 'b'), is_key=True)[40, 0]) == KEY_COLOR
    assert tuple(render_frame(GRAY, sample(0.0), ('a', 'b'), is_key=False)[40, 0]) == (90, 90, 90)


def test_panels_stand_beside():
    flow = torch.zeros(2, 5, 8)
    flow[0] = 1.0
    result = sample()
    result.feature_flow, result.scale_field = flow, torch.full((1, 5, 8), 0.9)
    drawn = render_frame(GRAY, result, ('a', 'b'), is_key=False, panels=('scale', 'flow'))
    assert drawn.shape == (80, 360, 3)
    assert (drawn[:, :120] == render_frame(GRAY, result, ('a', 'b'), is_key=False)).all()
    assert (drawn[:, 120:240] == scale_panel(result.scale_field, 80, 120)).all()
    assert (drawn[:, 240:] == flow_panel(flow, 80, 120)).all()
    assert render_frame(GRAY, sample(), ('a',), True, panels=('flow',)).shape == (80, 240, 3)


def test_flow_panel_has_the_wheels_colors():
    flow = torch.zeros(2, 5, 8)
    flow[0] = 1.0
    assert (flow_panel(None, 80, 120)[:40] == 255).all()  # no motion is white
    right, left = flow_panel(flow, 80, 120)[5, 5], flow_panel(-flow, 80, 120)[5, 5]
    assert right[2] == 255 and right[:2].max() < 30  # red
    assert left[2] < 30 and left[:2].min() > 200  # cyan
    half = flow_panel(0.51 * flow, 80, 120)[5, 5].astype(int)
    assert abs(half[1] - (255 + right[1].astype(int)) / 2) < 6  # of one cell, not of the longest
    pale = flow_panel(0.05 * flow, 80, 120)[5, 5].astype(int)
    assert pale.min() > 220  # a twentieth of a cell is next to nothing


def test_scale_panel_is_gray_at_one():
    neutral = scale_panel(None, 80, 120)[5, 5].astype(int)
    assert neutral.max() - neutral.min() <= 2
    assert (scale_panel(torch.ones(3, 5, 8), 80, 120)[5, 5] == neutral).all()
    less, more = (
        scale_panel(torch.full((1, 5, 8), value), 80, 120)[5, 5].astype(int)
        for value in (0.91, 1.09)
    )
    assert less[0] > less[2] + 80 and more[2] > more[0] + 80  # blue, red


def test_panels_leave_out_the_padding():
    flow = torch.zeros(2, 4, 6)
    flow[0, :, 3:] = 1.0  # in the padding
    result = sample(img_shape=(64, 48), batch_input_shape=(64, 96))
    result.feature_flow = flow
    panel = render_frame(GRAY, result, ('a', 'b'), False, panels=('flow',))[:, 120:]
    assert (panel[:20, :90] == 255).all()


def test_neighboring_classes_differ():
    colors = np.array([class_color(label) for label in range(30)]).astype(int)
    assert np.abs(colors[1:] - colors[:-1]).max(axis=1).min() > 60


def test_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / 'folder' / 'out.mp4'
    with VideoWriter(path, fps=10) as writer:
        for _ in range(7):
            writer.write(GRAY)
        assert not path.exists()
    assert frames_in(path) == 7
    assert [p.name for p in path.parent.iterdir()] == ['out.mp4']


def test_odd_sides_are_made_even_by_repeating(tmp_path):
    odd = np.full((47, 63, 3), 90, np.uint8)
    odd[-1], odd[:, -1] = 250, 250
    with VideoWriter(tmp_path / 'out.mp4') as writer:
        writer.write(odd)
    frame = cv2.VideoCapture(str(tmp_path / 'out.mp4')).read()[1]
    assert frame.shape == (48, 64, 3)
    assert frame[-1].min() > 180 and frame[:, -1].min() > 180 and frame[:40, :56].max() < 130


@pytest.mark.parametrize('fps', [0.5, 24000 / 1001, 29.97, 59.94006, 120.003, 987.654])
def test_any_frame_rate_is_kept(tmp_path, fps):
    with VideoWriter(tmp_path / 'out.mp4', fps) as writer:
        for _ in range(3):
            writer.write(GRAY)
    kept = cv2.VideoCapture(str(tmp_path / 'out.mp4')).get(cv2.CAP_PROP_FPS)
    assert kept == pytest.approx(fps, rel=1e-4)


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / 'out.mp4') as writer:
        writer.write(GRAY)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_bad_sizes_and_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match='60x40'), VideoWriter(tmp_path / 'out.mp4') as writer:
        writer.write(GRAY)
        writer.write(GRAY[:40, :60])
    with pytest.raises(ValueError, match=r'out\.avi'):
        VideoWriter(tmp_path / 'out.avi')


def test_renderer_writes_one_file_per_video(tmp_path):
    image = tmp_path / 'frame.png'
    cv2.imwrite(str(image), GRAY)
    renderer = ResultRenderer(tmp_path / 'out', ('a', 'b'), max_videos=2, with_flow=True)
    for name, count in (('val/one', 3), ('two', 2), ('three', 2)):
        renderer.start(name)
        for index in range(count):
            renderer.add(sample(img_path=str(image), is_key_frame=index == 0))
    renderer.finish()
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['two.mp4', 'val_one.mp4']
    assert frames_in(tmp_path / 'out' / 'val_one.mp4') == 3


def test_missing_image_is_named(tmp_path):
    renderer = ResultRenderer(tmp_path, ('a', 'b'))
    renderer.start('one')
    with pytest.raises(OSError, match=r'gone\.png'):
        renderer.add(sample(img_path=str(tmp_path / 'gone.png'), is_key_frame=True))
