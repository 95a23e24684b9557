import pytest
import torch

from semidff.models.semi_dff import FeatureCache
from tests.models import frames

VISITS = ([0, 1, 2, 3], [3, 0], [2, 2, 1])


class Network:
    """Two levels, and a count of the frames that came through."""

    def __init__(self, factor=2.0):
        self.factor = factor
        self.frames = 0

    def __call__(self, images):
        self.frames += len(images)
        return images[:, :, ::2, ::2] * self.factor, images[:, :1].sum((2, 3), keepdim=True)


@pytest.fixture
def network():
    return Network()


def test_maps_are_the_networks(network):
    images = frames(4)
    cache = FeatureCache(network, 1.0)
    for indices in VISITS:
        got, wanted = cache(images[indices]), Network()(images[indices])
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_a_frame_goes_through_the_network_once(network):
    images = frames(4)
    cache = FeatureCache(network, 1.0)
    for indices in VISITS:
        cache(images[indices])
    assert network.frames == len(cache) == 4


def test_a_frame_that_an_augmentation_changed_is_another(network):
    images = frames(2)
    cache = FeatureCache(network, 1.0)
    cache(images)
    flipped = cache(images.flip(-1))
    assert network.frames == 4
    assert torch.equal(flipped[0], Network()(images.flip(-1))[0])


def test_frames_of_the_same_bytes_in_another_shape_are_others(network):
    cache = FeatureCache(network, 1.0)
    for shape in ((1, 3, 4, 8), (1, 3, 8, 4)):
        assert cache(torch.zeros(shape))[0].shape == Network()(torch.zeros(shape))[0].shape


def test_maps_of_another_precision_are_others():
    """The steps of a training may have optimizer wrappers of different precision."""
    cache = FeatureCache(
        lambda images: (torch.nn.functional.conv2d(images, torch.ones(1, 3, 1, 1)),), 1.0
    )
    images = frames(2)
    for _ in range(2):
        with torch.autocast('cpu', torch.bfloat16):
            assert cache(images)[0].dtype == torch.bfloat16
        assert cache(images)[0].dtype == torch.float32
    assert len(cache) == 4


def test_memory_is_bounded_and_what_is_kept_stays(network):
    images = frames(4)
    of_one = sum(level.nbytes for level in Network()(images[:1]))
    cache = FeatureCache(network, 2.5 * of_one / 1e9)
    for _ in range(3):
        maps = cache(images)
    assert len(cache) == 2
    assert network.frames == 4 + 2 + 2
    assert torch.equal(maps[0], Network()(images)[0])


def test_nothing_is_left_of_a_changed_network(network):
    images = frames(2)
    cache = FeatureCache(network, 1.0)
    cache(images)
    network.factor = 3.0
    cache.clear()
    assert torch.equal(cache(images)[0], Network(3.0)(images)[0])


def test_maps_have_no_gradient():
    images = frames(1).requires_grad_()
    assert not any(level.requires_grad for level in FeatureCache(Network(), 1.0)(images))


@pytest.mark.parametrize('gigabytes', (0, -1.0))
def test_a_cache_of_no_size_is_refused(network, gigabytes):
    with pytest.raises(ValueError, match='gigabytes must be positive'):
        FeatureCache(network, gigabytes)
