"""Drawing and writing of videos."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from semidff.inference import ResultRenderer, VideoWriter, class_colour, flow_panel, render_frame
from semidff.inference.drawing import KEY_COLOUR

GREY = np.full((80, 120, 3), 90, np.uint8)


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
    image = GREY.copy()
    drawn = render_frame(image, sample(), ('a', 'b'), is_key=False)
    assert (image == GREY).all()
    assert tuple(drawn[60, 50]) == class_colour(1)
    assert (render_frame(image, sample(score=0.2), ('a', 'b'), is_key=False) == GREY).all()


def test_key_frames_have_a_border():
    assert tuple(render_frame(GREY, sample(0.0), ('a', 'b'), is_key=True)[40, 0]) == KEY_COLOUR
    assert tuple(render_frame(GREY, sample(0.0), ('a', 'b'), is_key=False)[40, 0]) == (90, 90, 90)


def test_flow_panel_stands_beside():
    flow = torch.zeros(2, 5, 8)
    flow[0] = 1.0
    drawn = render_frame(GREY, sample(), ('a', 'b'), is_key=False, flow=flow)
    assert drawn.shape == (80, 240, 3)
    assert (flow_panel(None, 80, 120)[:40] == 255).all()  # no motion is white
    right, left = flow_panel(flow, 80, 120)[5, 5], flow_panel(-flow, 80, 120)[5, 5]
    assert np.abs(right.astype(int) - left).max() > 100
    assert render_frame(GREY, sample(), ('a',), True, with_flow=True).shape == (80, 240, 3)


def test_neighbouring_classes_differ():
    colours = np.array([class_colour(label) for label in range(30)]).astype(int)
    assert np.abs(colours[1:] - colours[:-1]).max(axis=1).min() > 60


def test_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / 'folder' / 'out.mp4'
    with VideoWriter(path, fps=10) as writer:
        for _ in range(7):
            writer.write(GREY)
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
            writer.write(GREY)
    kept = cv2.VideoCapture(str(tmp_path / 'out.mp4')).get(cv2.CAP_PROP_FPS)
    assert kept == pytest.approx(fps, rel=1e-4)


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / 'out.mp4') as writer:
        writer.write(GREY)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_bad_sizes_and_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match='60x40'), VideoWriter(tmp_path / 'out.mp4') as writer:
        writer.write(GREY)
        writer.write(GREY[:40, :60])
    with pytest.raises(ValueError, match=r'out\.avi'):
        VideoWriter(tmp_path / 'out.avi')


def test_renderer_writes_one_file_per_video(tmp_path):
    image = tmp_path / 'frame.png'
    cv2.imwrite(str(image), GREY)
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
