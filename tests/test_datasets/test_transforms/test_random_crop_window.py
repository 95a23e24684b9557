import numpy as np
import pytest

from semidff.datasets.transforms import RandomCropWindow


def windows(shape, crop_size, divisor, count=100):
    crop = RandomCropWindow(crop_size, divisor)
    image = np.zeros((*shape, 3), np.uint8)
    found = [crop(dict(img=[image, image])) for _ in range(count)]
    assert all(results['img'][0] is image for results in found)
    return {results['crop_window'] for results in found}


def test_windows_begin_at_the_cells_of_the_coarsest_map():
    found = windows((100, 130), (64, 64), 32)
    assert found == {(top, left, 64, 64) for top in (0, 32) for left in (0, 32, 64)}


def test_windows_of_small_frames_are_whole_frames():
    assert windows((50, 60), (64, 64), 16) == {(0, 0, 50, 60)}


@pytest.mark.parametrize('crop_size, divisor', [((0, 8), 16), ((8, 8), 0)])
def test_impossible_sizes_are_refused(crop_size, divisor):
    with pytest.raises(ValueError, match='must be positive'):
        RandomCropWindow(crop_size, divisor)
