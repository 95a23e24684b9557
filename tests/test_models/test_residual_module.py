import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from semidff.inference import MethodError, VideoEngine
from tests.models import frames, samples, video_config


@pytest.fixture
def model():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg = video_config()
    cfg['temporal'] = dict(cfg['temporal'], type='ResidualModule')
    return MODELS.build(ConfigDict(cfg))


def test_starts_as_a_copy_on_levels_of_all_strides():
    init_default_scope('mmdet')
    temporal = dict(type='ResidualModule', feat_channels=[8, 16, 8], feat_strides=[8, 16, 32])
    module = MODELS.build(dict(temporal, flow_network=dict(type='FlowNetS', width=1 / 16)))
    maps = [torch.randn(2, c, 8 // s, 12 // s) for c, s in ((8, 1), (16, 2), (8, 4))]
    key, current = (module.prepare(torch.randn(2, 3, 64, 96)) for _ in 'kc')
    for copied, level in zip(module(key, current, maps), maps, strict=True):
        assert torch.equal(copied, level)
    # the bias of a level's channels is added to all of its cells, and to no other level
    torch.nn.init.constant_(module.residual.bias[8:24].data, 3.0)
    for i, (moved, level) in enumerate(zip(module(key, current, maps), maps, strict=True)):
        torch.testing.assert_close(moved, level + 3.0 * (i == 1))


def test_levels_and_input_scale_are_those_of_the_detector():
    init_default_scope('mmdet')
    cfg = video_config()
    normalization = dict(mean=[0.0] * 3, std=[51.0] * 3)
    cfg['detector']['data_preprocessor'] = dict(type='DetDataPreprocessor', **normalization)
    cfg['data_preprocessor'] = None
    network = dict(type='FlowNetS', width=1 / 16)
    cfg['temporal'] = dict(type='ResidualModule', flow_network=network)
    model = MODELS.build(ConfigDict(cfg))
    channels, strides = model.spatial.probe_levels()
    assert (model.temporal.feat_channels, model.temporal.feat_strides) == (channels, strides)
    assert model.temporal.network.input_scale == pytest.approx(0.2)


def test_regression_trains_all_of_it_and_nothing_else(model):
    model.enter_step([dict(type='FeatureRegression')], ['temporal'])
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.temporal.parameters(), lr=3e-3)
    pairs, losses = torch.stack((frames(2), frames(2, seed=1)), 1), []
    for _ in range(15):
        (loss,) = model(pairs, samples(2), mode='loss').values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # the first loss is that of copied features
    assert losses[-1] < 0.8 * losses[0]
    after = model.state_dict()
    for key, value in before.items():
        assert torch.equal(value, after[key]) != key.startswith('temporal.'), key


def test_detects_on_key_and_non_key_frames(model):
    model.eval()
    with torch.no_grad():
        expected, key = model.predict_key(frames(1), samples(1))
        (found,) = model.predict_non_key(frames(1, seed=1), samples(1), key)
    torch.testing.assert_close(  # untrained: the key frame's detections
        found.pred_instances.bboxes, expected[0].pred_instances.bboxes
    )


def test_what_needs_a_flow_is_refused(model):
    with pytest.raises(MethodError, match='ResidualModule has no feature flow to keep'):
        VideoEngine(model, keep_fields=True)
    assert not VideoEngine(model).method.observable
