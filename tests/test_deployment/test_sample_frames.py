"""Frames for the export of a model."""

import pytest
from mmengine.config import Config

from semidff.deployment import sample_batches


@pytest.mark.parametrize(('scale', 'size'), [((96, 64), (64, 96)), (64, (64, 64))])
def test_frames_have_the_scale_of_the_pipeline(scale, size):
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=scale)]
    config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    (batch,) = sample_batches(config, 1)
    assert batch['inputs'][0].shape[1:] == size


def test_a_size_is_needed_without_test_data():
    with pytest.raises(ValueError, match='give --shape H W or a --video'):
        sample_batches(Config(), 1)
