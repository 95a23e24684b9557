import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope

from semidff.models import VideoDetector
from tests.tiny.models import retinanet


def build():
    init_default_scope('mmdet')
    return MODELS.build(
        dict(
            type='VideoDataPreprocessor',
            mean=[10.0, 20.0, 30.0],
            std=[1.0, 2.0, 4.0],
            bgr_to_rgb=True,
            pad_size_divisor=16,
        )
    )


def batch(*inputs):
    samples = [
        DetDataSample(metainfo=dict(img_shape=tuple(i.shape[-2:]), name=n))
        for n, i in enumerate(inputs)
    ]
    return dict(inputs=list(inputs), data_samples=samples)


def random(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def test_pairs_are_the_frames_one_by_one():
    """Each frame of a pair, and its sample's metainfo, as the same frame alone."""
    first, second = random(2, 3, 24, 40), random(2, 3, 30, 33)
    data = build()(batch(first, second), training=True)
    assert data['inputs'].shape == (2, 2, 3, 32, 48)
    for frame in (0, 1):
        alone = build()(batch(first[frame], second[frame]), training=True)
        assert torch.equal(data['inputs'][:, frame], alone['inputs'])
    assert [s.name for s in data['data_samples']] == [0, 1]
    assert [s.img_shape for s in data['data_samples']] == [(24, 40), (30, 33)]
    assert all(s.batch_input_shape == (32, 48) for s in data['data_samples'])


def test_pairs_of_a_detector_whose_own_preprocessor_makes_labels():
    """BoxInst's makes masks of boxes, which distillation does not have."""
    model = dict(
        retinanet(), data_preprocessor=dict(type='BoxInstDataPreprocessor', bgr_to_rgb=True)
    )
    data = VideoDetector(model).data_preprocessor(batch(random(2, 3, 24, 40)), training=True)
    assert data['inputs'].shape == (1, 2, 3, 24, 40)


@pytest.mark.parametrize(
    'settings', [dict(pad_size_divisor=32, pad_value=114), dict(bgr_to_rgb=True)]
)
@pytest.mark.parametrize('normalized', [True, False])
def test_frames_are_those_of_mmdet(settings, normalized):
    if normalized:
        settings = dict(settings, mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395])
    frames = [random(3, 30, 41), random(3, 64, 24)]
    expected, found = (
        MODELS.build(dict(settings, type=kind))(batch(*frames))
        for kind in ('DetDataPreprocessor', 'VideoDataPreprocessor')
    )
    assert torch.equal(found['inputs'], expected['inputs'])
    assert [s.metainfo for s in found['data_samples']] == [
        s.metainfo for s in expected['data_samples']
    ]


def test_frames_may_be_double_and_require_gradients():
    preprocessor = build().double()
    frames = [torch.rand(3, 16, 16, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    inputs = preprocessor(batch(*frames))['inputs']
    assert inputs.dtype == torch.float64
    inputs.sum().backward()
    assert all(
        (frame.grad.flatten(1).mean(1) == torch.tensor([0.25, 0.5, 1])).all() for frame in frames
    )
