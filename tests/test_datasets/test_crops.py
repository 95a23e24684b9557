"""The file of crops."""

import numpy as np
import pytest
import torch

from semidff.datasets.crops import CropsDataset


def _write(path, **changes):
    images = np.random.default_rng(0).integers(0, 255, (6, 5, 4, 3), dtype=np.uint8)
    arrays = {'images': images, 'labels': np.arange(6) % 3, 'classes': np.array(['a', 'b', 'c'])}
    arrays.update(changes)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return images


def test_items(tmp_path):
    images = _write(tmp_path / 'crops.npz')
    dataset = CropsDataset(data_root=str(tmp_path))
    assert len(dataset) == 6 and dataset.metainfo['classes'] == ('a', 'b', 'c')
    item = dataset[4]
    assert item['inputs'].dtype == torch.uint8
    assert np.array_equal(item['inputs'].numpy(), images[4].transpose(2, 0, 1))
    assert item['data_samples'].gt_label.tolist() == [1]
    assert item['data_samples'].img_shape == (5, 4)


def test_held_out_part(tmp_path):
    _write(tmp_path / 'crops.npz')
    held_out = CropsDataset(data_root=str(tmp_path), indices=-2)
    assert [held_out[i]['data_samples'].img_id for i in range(len(held_out))] == [4, 5]


def test_flips_are_all_four_and_follow_numpys_seed(tmp_path):
    image = _write(tmp_path / 'crops.npz')[0].transpose(2, 0, 1)
    dataset = CropsDataset(data_root=str(tmp_path), flip=True)
    expected = {image[:, ::a, ::b].tobytes() for a in (1, -1) for b in (1, -1)}
    seen = []
    for seed in list(range(24)) * 2:
        np.random.seed(seed)
        seen.append(dataset[0]['inputs'].numpy().tobytes())
    assert set(seen) == expected and seen[:24] == seen[24:]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'labels': None}, 'labels'),
        ({'labels': np.arange(5)}, r'\(5,\)'),
        ({'labels': np.full(6, 3)}, '3 classes'),
        ({'images': np.zeros((6, 5, 4, 3), np.float32)}, 'float32'),
    ],
)
def test_broken_arrays(tmp_path, changes, message):
    _write(tmp_path / 'crops.npz', **changes)
    with pytest.raises(ValueError, match=message) as error:
        CropsDataset(data_root=str(tmp_path))
    assert 'crops.npz' in str(error.value)


def test_missing_and_truncated_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='crops.npz'):
        CropsDataset(data_root=str(tmp_path))
    _write(tmp_path / 'crops.npz')
    content = (tmp_path / 'crops.npz').read_bytes()
    for length in (0, 100):
        (tmp_path / 'crops.npz').write_bytes(content[:length])
        with pytest.raises(ValueError, match='not a file of crops'):
            CropsDataset(data_root=str(tmp_path))
