"""mmcv without compiled operators."""

import importlib
import subprocess
import sys

from semidff.utils import import_hooks, torchvision_operators


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
