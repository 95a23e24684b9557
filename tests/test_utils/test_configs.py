"""Config files and their settings."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor

from mmengine.config import Config

from semidff.utils.configs import read_config


def test_any_setting_may_be_added(tmp_path):
    Config(dict(train_cfg=dict(max_iters=5), dataset='pets', window='hann')).dump(tmp_path / 'c.py')
    config = read_config(tmp_path / 'c.py', {'train_cfg.max_iters': 7, 'note': 1})
    assert config.train_cfg.max_iters == 7 and config.note == 1 and config.dataset == 'pets'


def test_threads_read_at_the_same_time(request):
    """A thread that changes within ``ast.parse``, here for the garbage collector, broke it in the
    others.
    """

    def change_threads(phase, info):
        time.sleep(1e-4)

    threshold = gc.get_threshold()
    request.addfinalizer(lambda: gc.set_threshold(*threshold))
    request.addfinalizer(lambda: gc.callbacks.remove(change_threads))
    gc.callbacks.append(change_threads)
    gc.set_threshold(50)
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(read_config, ['configs/semi_dff/semi-dff_r101-caffe_imagenet-det-vid.py'] * 12)
        )
