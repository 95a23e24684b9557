"""tools/export_onnx.py: model, weights and size of the frames that are exported."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config

from semidff.apis.export import frame_shape
from tests.tiny.videos import CLASSES

EXPORT = 'export_onnx.py'


def test_export(run, monkeypatch):
    """What is exported; the graphs are those of ``tests/test_deployment``."""
    calls = []

    def export(model, out, size, classes):
        calls.append((model.has_temporal, out, size, classes))
        return SimpleNamespace(shape=size)

    monkeypatch.setattr('semidff.apis.export.export_onnx', export)
    printed = run(EXPORT, 'config.py', 'two.pth', '--out', 'exported', '--video', 'in.mp4')
    assert printed == 'frames enter as 1 x 3 x 64 x 96\n'
    assert calls == [(True, 'exported', (64, 96), CLASSES)]


@pytest.mark.parametrize(('scale', 'size'), [((96, 64), (64, 96)), (64, (64, 64))])
def test_frames_have_the_scale_of_the_pipeline(scale, size):
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=scale)]
    config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    assert frame_shape(config, None, None) == size


def test_a_size_is_needed_without_test_data():
    with pytest.raises(ValueError, match='give --shape H W or a --video'):
        frame_shape(Config(), None, None)
