"""Flying Chairs' files, written byte by byte."""

import struct

import pytest
import torch

from semidff.datasets import FlyingChairsDataset

H, W = 3, 4


def _ppm(value_of):
    pixels = bytes(c for y in range(H) for x in range(W) for c in value_of(x, y))
    return f'P6\n{W} {H}\n255\n'.encode() + pixels


def _flo(flow_of):
    values = [v for y in range(H) for x in range(W) for v in flow_of(x, y)]
    return b'PIEH' + struct.pack('<ii', W, H) + struct.pack(f'<{len(values)}f', *values)


@pytest.fixture
def chairs(tmp_path):
    folder = tmp_path / 'data'
    folder.mkdir()
    for n in (1, 2, 3):
        (folder / f'{n:05d}_img1.ppm').write_bytes(_ppm(lambda x, y, n=n: (10 * x, 10 * y, n)))
        (folder / f'{n:05d}_img2.ppm').write_bytes(
            _ppm(lambda x, y, n=n: (10 * x, 10 * y, 100 + n))
        )
        (folder / f'{n:05d}_flow.flo').write_bytes(_flo(lambda x, y, n=n: (x + 0.5, -y - n)))
    (tmp_path / 'FlyingChairs_train_val.txt').write_text('1\n2\n1\n')
    return tmp_path


def _dataset(root, **kwargs):
    return FlyingChairsDataset(data_root=str(root), **kwargs)


def test_items_are_key_then_current_with_flow_on_the_current_frame(chairs):
    dataset = _dataset(chairs)
    assert len(dataset) == 2
    item = dataset[1]
    assert item['inputs'].shape == (2, 3, H, W) and item['inputs'].dtype == torch.uint8
    key, current = item['inputs']
    assert (current[2], current[1], current[0])[0][0].tolist() == [0, 10, 20, 30]  # red holds 10 x
    assert current[0].unique().tolist() == [3] and key[0].unique().tolist() == [
        103
    ]  # blue holds the number
    flow = item['data_samples'].gt_flow.data
    assert flow.shape == (2, H, W) and flow.dtype == torch.float32
    assert flow[:, 2, 3].tolist() == [3.5, -5.0]
    assert item['data_samples'].img_shape == (H, W)
    assert item['data_samples'].img_path.endswith('00003_img1.ppm')


def test_split(chairs):
    dataset = _dataset(chairs, split='val')
    assert [dataset[i]['data_samples'].img_path[-14:] for i in range(len(dataset))] == [
        '00002_img1.ppm'
    ]
