"""Panels beside the frames of annotated videos: from Python and from tools/video_demo.py."""

import runpy
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from semidff.apis import VideoInferencer
from semidff.datasets.video_readers import open_stream
from semidff.inference import MethodError
from semidff.visualization.frames import flow_panel, scale_panel
from tests.damaged_video import write_video
from tests.tiny_video import build, frame, test_settings, write_videos

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'video_demo.py'


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """Configs with and without scale field, their weights, and a video."""
    folder = tmp_path_factory.mktemp('panels')
    for name, with_scale in (('two', True), ('unscaled', False)):
        settings = test_settings(write_videos(folder, (1,)), folder / 'work')
        settings['model']['temporal']['with_scale'] = with_scale
        Config(settings).dump(folder / f'{name}.py')
        state = build(settings['model'], seed=3).state_dict()
        torch.save(dict(state_dict=state), folder / f'{name}.pth')
    write_video(folder / 'in.mp4', 7, fps=12.5, size=(96, 64))
    return folder


def make(project, name: str = 'two', **options) -> VideoInferencer:
    files = str(project / f'{name}.py'), str(project / f'{name}.pth')
    return VideoInferencer(*files, 'cpu', key_interval=3, show_progress=False, **options)


def test_results_have_the_fields_of_the_panels(project, tmp_path):
    video = [frame(2, index) for index in range(5)]
    plain = list(make(project)(video, out_video=tmp_path / 'plain.mp4'))
    both = list(
        make(project, panels=('flow', 'scale'))(video, out_video=tmp_path / 'both.mp4')
    )  # fmt: skip
    assert [('feature_flow' in s, 'scale_field' in s) for s in both] == [
        (not s.is_key_frame,) * 2 for s in both
    ]
    assert both[1].feature_flow.shape == (2, 4, 6) and both[1].scale_field.shape == (1, 4, 6)
    assert both[1].scale_field.min() == both[1].scale_field.max() == 1, 'as it starts'
    for one, other in zip(plain, both, strict=True):
        assert 'feature_flow' not in one
        assert torch.equal(one.pred_instances.bboxes, other.pred_instances.bboxes)
    alone, beside = (
        [f.image for f in open_stream(tmp_path / f'{name}.mp4')] for name in ('plain', 'both')
    )
    assert alone[0].shape == (64, 96, 3) and beside[0].shape == (64, 288, 3)
    difference = np.abs(alone[0].astype(int) - beside[0][:, :96])
    assert np.median(difference) < 8, 'the frame stands on the left'
    key, current = beside[0][:40, 96:192], beside[1][:40, 96:192]
    assert key.min() > 230, 'key frames have no flow: white'
    assert current.min() < key.min()


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('two', dict(panels=('flaw',)), "unknown panels .'flaw'.; choose from flow, scale"),
        ('two', dict(panels=('flow',), method='copy'), "'copy' propagates no features"),
        ('two', dict(panels=('scale',), method='sff-fast'), 'leave out the panel scale'),
        ('unscaled', dict(panels=('flow', 'scale')), 'leave out the panel scale'),
    ],
)
def test_panels_without_a_field_are_refused(project, name, options, message):
    with pytest.raises(MethodError, match=message):
        make(project, name, **options)


def test_without_a_scale_field_flow_can_be_shown(project):
    [_, current] = make(project, 'unscaled', panels=('flow',))([frame(2, i) for i in (0, 1)])
    assert 'feature_flow' in current and 'scale_field' not in current


def test_command_line(project, monkeypatch):
    monkeypatch.chdir(project)
    given = [
        'in.mp4',
        'two.py',
        'two.pth',
        '--out',
        'o.mp4',
        '--panels',
        'scale',
        '--device',
        'cpu',
    ]
    monkeypatch.setattr('sys.argv', ['video_demo.py', *given])
    handler = signal.getsignal(signal.SIGINT)
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    finally:
        signal.signal(signal.SIGINT, handler)
    frames = [f.image for f in open_stream(project / 'o.mp4')]
    assert len(frames) == 7 and frames[0].shape == (64, 192, 3)


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
