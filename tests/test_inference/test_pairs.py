"""The protocol for sparsely labeled videos (DFF 5.2), with a real detector."""

import pytest

from semidff.inference import MethodError, PairEngine, VideoEngine
from tests.test_inference.test_video_engine import count_calls, same
from tests.tiny.videos import batch, build, detector_cfg

FRAMES = 9
L = 4


def frames(labeled=range(FRAMES)):
    """Batches of a video; some frames are not labeled."""
    result = [batch(0, index) for index in range(FRAMES)]
    for index, data in enumerate(result):
        data['data_samples'][0].set_metainfo({'is_labeled': index in labeled})
    return result


def walk(engine, batches):
    """Detections by frame and distance."""
    found = {}
    for data in batches:
        for result in engine.push(data):
            found[result.frame_id, result.get('key_distance')] = result
    assert engine.flush() == []
    engine.reset()
    return found


@pytest.fixture(scope='module')
def pairs(model):
    return walk(PairEngine(model, 'propagate', L), frames())


def test_each_frame_comes_at_each_distance(pairs):
    assert set(pairs) == {(i, d) for i in range(FRAMES) for d in range(L)}
    assert not same(pairs[7, 1], pairs[7, 2])
    assert [pairs[7, d].is_key_frame for d in range(L)] == [True, False, False, False]


@pytest.mark.parametrize('method', ['propagate', 'copy'])
def test_the_results_of_schedules_are_among_the_pairs(model, method):
    found = walk(PairEngine(model, method, L), frames())
    dense = walk(VideoEngine(model, method, L), frames())
    assert all(same(found[i, i % L], dense[i, None]) for i in range(FRAMES))
    alone = walk(VideoEngine(model, 'frame'), frames())
    assert all(same(found[i, 0], alone[i, None]) for i in range(FRAMES))


def test_before_the_video_the_first_frame_is_the_key_frame(pairs):
    for frame in range(L):
        assert all(same(pairs[frame, d], pairs[frame, frame]) for d in range(frame, L))
    assert pairs[0, 3].is_key_frame and not pairs[2, 3].is_key_frame
    assert [pairs[1, d].key_distance for d in range(L)] == [0, 1, 2, 3]


def test_sparse_labels_give_the_same_results(model, pairs):
    engine = PairEngine(model, 'propagate', L)
    for _ in range(2):  # the second video begins with an empty memory
        found = walk(engine, frames(labeled=(3, 8)))
        assert set(found) == {(i, d) for i in (3, 8) for d in range(L)}
        assert all(same(result, pairs[place]) for place, result in found.items())


def test_networks_run_only_for_labeled_frames(model):
    """Labeled 3 and 5 share the key frames 2 and 3: 0 ... 5 are key frames once each; 8 is none."""
    features, flows = (
        count_calls(net) for net in (model.spatial.feature_network[0], model.temporal.flow_network)
    )
    walk(PairEngine(model, 'propagate', L), frames(labeled=(3, 5)))
    assert len(features) == 6 and len(flows) == 2 * (L - 1)


def test_frame_has_one_distance_only(model):
    found = walk(PairEngine(model, 'frame', L), frames())
    assert set(found) == {(i, 0) for i in range(FRAMES)}


def test_a_plain_detector_can_copy():
    detector = build(detector_cfg())
    assert len(walk(PairEngine(detector, 'copy', 2), frames(labeled=(5,)))) == 2


@pytest.mark.parametrize('method', ['track', 'interpolate'])
def test_methods_that_need_the_frames_between_are_refused(model, method):
    with pytest.raises(MethodError, match=f"'{method}' depends on all frames since") as refused:
        PairEngine(model, method, L)
    named = str(refused.value).split('choose one of ')[1].split(', or')[0].split(', ')
    assert {'propagate', 'sff-fast', 'sff-slow'} <= set(named)
    for able in named:
        PairEngine(model, able, L)


def test_missing_key_frames_are_an_error_not_a_shorter_distance(model):
    engine = PairEngine(model, 'propagate', L)
    some = frames(labeled=(7,))
    for index in (3, 4, 6):
        engine.push(some[index])
    with pytest.raises(ValueError, match='frame 7 .* but frame 5 before it is not in the data'):
        engine.push(some[7])
    engine.reset()
    with pytest.raises(ValueError, match='frame 6 before it is not in the data'):
        engine.push(some[7])  # a json that lists labeled frames only
