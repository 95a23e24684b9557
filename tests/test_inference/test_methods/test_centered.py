"""Propagation from the nearer key frame."""

import pytest
import torch

from semidff.inference import VideoEngine
from semidff.inference.methods import propagation
from tests.tiny_video import batch, build, video_detector_cfg

FRAMES, INTERVAL = 12, 5


@pytest.fixture(scope='module')
def model():
    return build(video_detector_cfg()).eval()


def walk(engine: VideoEngine) -> list:
    results = []
    for index in range(FRAMES):
        results += engine.push(batch(0, index))
    return results + engine.flush()


@torch.no_grad()
def from_key(model, key: int, current: int):
    """A frame's detections by way of any other frame."""
    frames = [model.data_preprocessor(batch(0, index), False) for index in (key, current)]
    _, state = model.predict_key(frames[0]['inputs'], frames[0]['data_samples'])
    (result,) = model.predict_non_key(frames[1]['inputs'], frames[1]['data_samples'], state)
    return result.pred_instances


def close(first, second) -> bool:
    return len(first) == len(second) and all(
        torch.allclose(first[name], second[name], atol=1e-3) for name in ('bboxes', 'scores')
    )


def test_every_frame_comes_from_the_nearer_key_frame(model):
    results = walk(VideoEngine(model, 'centered', key_interval=INTERVAL))
    assert [result.frame_id for result in results] == list(range(FRAMES))
    # frames 1, 2 from 0; 3, 4 from 5; 6, 7 from 5; 8, 9 from 10; 11 from the last key frame
    nearer = {1: 0, 2: 0, 3: 5, 4: 5, 6: 5, 7: 5, 8: 10, 9: 10, 11: 10}
    for current, key in nearer.items():
        found = results[current].pred_instances
        assert close(found, from_key(model, key, current)), current
        other = key - INTERVAL if key > current else key + INTERVAL
        if 0 <= other < FRAMES:
            assert not close(found, from_key(model, other, current)), current


def test_the_middle_goes_to_the_earlier_key_frame(model):
    results = walk(VideoEngine(model, 'centered', key_interval=4))
    assert close(results[2].pred_instances, from_key(model, 0, 2))
    assert close(results[3].pred_instances, from_key(model, 4, 3))


@pytest.mark.parametrize('size', [1, 3])
def test_batches_change_nothing(model, size):
    whole = walk(VideoEngine(model, 'centered', key_interval=INTERVAL))
    engine = VideoEngine(model, 'centered', key_interval=INTERVAL)
    engine.method.batch_size = size
    sizes = []
    hook = model.temporal.register_forward_hook(
        lambda module, inputs, output: sizes.append(len(inputs[0]))
    )
    parts = walk(engine)
    hook.remove()
    assert max(sizes) == size and sum(sizes) == FRAMES - 3
    for first, second in zip(whole, parts, strict=True):
        assert close(first.pred_instances, second.pred_instances)


def test_each_frame_has_its_own_flow(model):
    engine = VideoEngine(model, 'centered', key_interval=INTERVAL, keep_fields=True)
    results = walk(engine)
    flows = [result.feature_flow for result in results if 'feature_flow' in result]
    assert len(flows) == FRAMES - 3 and flows[0].ndim == 3 and len(flows[0]) == 2
    assert not any(torch.equal(a, b) for a, b in zip(flows, flows[1:], strict=False))


@pytest.mark.parametrize('method', ['centered', 'blend'])
def test_a_model_trained_in_one_direction_is_warned_of_once(model, method, monkeypatch):
    warnings = []
    monkeypatch.setattr(propagation, 'log_warning', warnings.append)
    propagation._warn_of_backward.cache_clear()
    for _ in range(2):
        VideoEngine(model, method)
    (text,) = warnings
    assert f"'{method}'" in text and 'both_directions=True' in text
    monkeypatch.setattr(model, 'both_directions', True)
    propagation._warn_of_backward.cache_clear()
    VideoEngine(model, method)
    assert len(warnings) == 1
