"""The protocol for sparsely labeled videos (DFF 5.2), with a real detector."""

import pytest

from semidff.inference import MethodError
from tests.test_inference.test_stages import count_calls, same
from tests.tiny.stages import frame_of, live, stages
from tests.tiny.videos import batch, build, detector_cfg

FRAMES = 9
L = 4


def frames(labeled=range(FRAMES)):
    """Batches of a video; some frames are not labeled."""
    result = [batch(0, index) for index in range(FRAMES)]
    for index, data in enumerate(result):
        data['data_samples'][0].set_metainfo({'is_labeled': index in labeled})
    return result


def walk(run, batches):
    """Detections by frame and distance."""
    return {(one.frame_id, one.key_distance): one for one in run.run_pairs(map(frame_of, batches))}


@pytest.fixture(scope='module')
def pairs(model):
    return walk(stages(model, 'propagate', L), frames())


def test_each_frame_comes_at_each_distance(pairs):
    assert set(pairs) == {(i, d) for i in range(FRAMES) for d in range(L)}
    assert not same(pairs[7, 1], pairs[7, 2])
    assert [pairs[7, d].is_key_frame for d in range(L)] == [True, False, False, False]


@pytest.mark.parametrize('method', ['propagate', 'copy'])
def test_the_results_of_schedules_are_among_the_pairs(model, method):
    found = walk(stages(model, method, L), frames())
    dense, alone = (live(stages(model, name, L), frames()) for name in (method, 'frame'))
    assert all(same(found[i, i % L], dense[i]) for i in range(FRAMES))
    assert all(same(found[i, 0], alone[i]) for i in range(FRAMES))


def test_before_the_video_the_first_frame_is_the_key_frame(pairs):
    for frame in range(L):
        assert all(same(pairs[frame, d], pairs[frame, frame]) for d in range(frame, L))
    assert pairs[0, 3].is_key_frame and not pairs[2, 3].is_key_frame
    assert [pairs[1, d].key_distance for d in range(L)] == [0, 1, 2, 3]


def test_sparse_labels_give_the_same_results(model, pairs):
    run = stages(model, 'propagate', L)
    for _ in range(2):  # the second video begins with an empty memory
        found = walk(run, frames(labeled=(3, 8)))
        assert set(found) == {(i, d) for i in (3, 8) for d in range(L)}
        assert all(same(result, pairs[place]) for place, result in found.items())


def test_networks_run_only_for_labeled_frames(model):
    """Labeled 3 and 5 share the key frames 2 and 3: 0 ... 5 are key frames once each; 8 is none."""
    features, flows = (
        count_calls(net) for net in (model.spatial.feature_network[0], model.temporal.flow_network)
    )
    walk(stages(model, 'propagate', L), frames(labeled=(3, 5)))
    assert len(features) == 6 and len(flows) == 2 * (L - 1)


def test_frame_has_one_distance_only(model):
    found = walk(stages(model, 'frame', L), frames())
    assert set(found) == {(i, 0) for i in range(FRAMES)}


def test_a_plain_detector_can_copy():
    detector = build(detector_cfg())
    assert len(walk(stages(detector, 'copy', 2), frames(labeled=(5,)))) == 2


@pytest.mark.parametrize('method', ['track', 'interpolate'])
def test_methods_that_need_the_frames_between_are_refused(model, method):
    with pytest.raises(MethodError, match=f"'{method}' depends on all frames since") as refused:
        stages(model, method, L).run_pairs([])
    named = str(refused.value).split('choose one of ')[1].split(', or')[0].split(', ')
    assert {'propagate', 'sff-fast', 'sff-slow'} <= set(named)
    for able in named:
        stages(model, able, L).run_pairs([])


def test_missing_key_frames_are_an_error_not_a_shorter_distance(model):
    run, some = stages(model, 'propagate', L), frames(labeled=(7,))
    with pytest.raises(ValueError, match='frame 7 .* but frame 5 before it is not in the data'):
        walk(run, [some[index] for index in (3, 4, 6, 7)])
    with pytest.raises(ValueError, match='frame 6 before it is not in the data'):
        walk(run, some[7:])  # a json that lists labeled frames only
