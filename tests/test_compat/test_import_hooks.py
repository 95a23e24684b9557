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


PROGRAM = """
import sys
import semidff.apis
late = {'imgaug', 'imagecorruptions', 'matplotlib', 'scipy', 'sympy', 'torch.distributed.fsdp'}
assert not late & sys.modules.keys()
import mmdet.evaluation
import torch
from mmdet.utils.mot_error_visualize import plt
from mmengine.fileio import FileClient
from mmengine.logging import print_log
from mmengine.model import MMFullyShardedDataParallel
from mmengine.registry import MODEL_WRAPPERS, STRATEGIES
assert 'torch.distributed.fsdp' not in sys.modules and plt.rcParams['figure.figsize']
assert MODEL_WRAPPERS.get('MMFullyShardedDataParallel').__name__ == 'MMFullyShardedDataParallel'
class Derived(MMFullyShardedDataParallel):
    pass
import torch.distributed.fsdp
assert issubclass(Derived, torch.distributed.fsdp.FullyShardedDataParallel)
assert not isinstance(torch.nn.ReLU(), MMFullyShardedDataParallel)
assert STRATEGIES.get('FSDPStrategy').__module__ == 'mmengine._strategy.fsdp'
FileClient.infer_client(None, 'folder')
torch.meshgrid(torch.arange(2), torch.arange(2))
print_log('other messages are shown')
"""


def test_imports_are_silent_and_packages_that_only_calls_need_are_imported_by_them():
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'other messages are shown\n'
    assert not done.stderr
