"""The file of crops."""

import numpy as np
import torch

from semidff.datasets.crops import CropsDataset


def _write(path):
    images = np.random.default_rng(0).integers(0, 255, (6, 5, 4, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(6) % 3, classes=np.array(['a', 'b', 'c']))
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


def test_flips_are_all_four_and_follow_numpys_seed(tmp_path):
    image = _write(tmp_path / 'crops.npz')[0].transpose(2, 0, 1)
    dataset = CropsDataset(data_root=str(tmp_path), flip=True)
    expected = {image[:, ::a, ::b].tobytes() for a in (1, -1) for b in (1, -1)}
    seen = []
    for seed in list(range(24)) * 2:
        np.random.seed(seed)
        seen.append(dataset[0]['inputs'].numpy().tobytes())
    assert set(seen) == expected and seen[:24] == seen[24:]
