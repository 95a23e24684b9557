"""From the decoded image to the network's input."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS

from semidff.datasets import OriginalResize
from tests.test_golden.original import arrays, config, read_json, relative


def resized(image: np.ndarray, longest: int, shortest: int) -> dict:
    return OriginalResize((longest, shortest)).transform(dict(img=image))


def test_sizes():
    for rule in read_json('preprocess_golden.json')['rules']:
        image = np.zeros((rule['h'], rule['w'], 3), np.uint8)
        result = resized(image, rule['max'], rule['short'])
        assert result['img_shape'] == (rule['out_h'], rule['out_w']), rule
        assert result['scale_factor'] == (rule['scale'], rule['scale'])


@pytest.mark.parametrize('name,sides', [('down', (1000, 37)), ('up', (120, 90))])
def test_pixels(name, sides):
    golden = arrays('preprocess_golden.npz')
    result = resized(golden['src_bgr_u8'], *sides)
    assert result['scale_factor'][0] == golden[f'{name}_scale']
    assert np.array_equal(result['img'], golden[f'{name}_bgr_u8'])


def network_input(image: np.ndarray) -> torch.Tensor:
    """What the config's preprocessor makes of a BGR image (H, W, 3)."""
    frame = torch.from_numpy(image).permute(2, 0, 1)
    preprocessor = MODELS.build(config().detector.data_preprocessor)
    return preprocessor(dict(inputs=[frame], data_samples=None))['inputs']


def test_mean_and_channel_order():
    golden = arrays('preprocess_golden.npz')
    assert relative(network_input(golden['down_bgr_u8']), golden['down_tensor']) < 1e-6
    golden = arrays('net_golden.npz')
    for frame in ('key', 'cur'):
        data = network_input(golden[f'{frame}_bgr_u8'])
        assert relative(data, golden[f'data_{frame}']) < 1e-6
