"""mmcv without compiled operators."""

import importlib
import subprocess
import sys

from semidff.compat import import_hooks, torchvision_operators


def test_only_the_operators_are_found_and_after_all_other_finders():
    finder = import_hooks.OperatorFinder
    assert finder.find_spec('mmcv._ext').origin == torchvision_operators.__file__
    assert finder.find_spec('mmcv.ops') is None
    compiled = importlib.machinery.PathFinder.find_spec(
        'mmcv._ext', importlib.import_module('mmcv').__path__
    )
    used = compiled.origin if compiled else torchvision_operators.__file__
    assert importlib.import_module('mmcv._ext').__file__ == used


def test_it_does_not_import_pytorch():
    code = f'import runpy, sys; runpy.run_path({import_hooks.__file__!r}); assert "torch" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)


LATER = """
import sys
import numpy as np
import semidff.apis
late = {'imgaug', 'imagecorruptions', 'matplotlib', 'scipy', 'sympy', 'torch.distributed.fsdp'}
assert not late & sys.modules.keys()
from mmdet.datasets.transforms.generate_line import ImageAug
from mmdet.datasets.transforms.transforms import corrupt
from mmdet.utils.mot_error_visualize import plt
from mmengine.model import MMFullyShardedDataParallel
from mmengine.registry import MODEL_WRAPPERS, STRATEGIES
assert 'torch.distributed.fsdp' not in sys.modules and plt.rcParams['figure.figsize']
assert MODEL_WRAPPERS.get('MMFullyShardedDataParallel').__name__ == 'MMFullyShardedDataParallel'
class Own(MMFullyShardedDataParallel):
    pass
import torch.distributed.fsdp
assert issubclass(Own, torch.distributed.fsdp.FullyShardedDataParallel)
assert not isinstance(torch.nn.ReLU(), MMFullyShardedDataParallel)
assert STRATEGIES.get('FSDPStrategy').__module__ == 'mmengine._strategy.fsdp'
image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
import imagecorruptions
blur = dict(corruption_name='gaussian_blur')
assert (corrupt(image, **blur) == imagecorruptions.corrupt(image, **blur)).all()
flip = dict(name='HorizontalFlip', p=1.0, parameters=dict(p=1.0))
resize = dict(name='Resize', p=1.0, parameters=dict(size=dict(height=64, width=64)))
assert (ImageAug([resize, flip]).pipeline(image=image) == image[:, ::-1]).all()
"""


def test_packages_that_only_calls_need_are_imported_by_them():
    done = subprocess.run([sys.executable, '-c', LATER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
