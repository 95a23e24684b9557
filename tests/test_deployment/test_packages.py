"""Packages that may be missing."""

import sys

import pytest

from semidff.deployment import MissingPackageError
from semidff.deployment.packages import require


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(MissingPackageError, match=r"^onnxruntime: needed for ONNX.*extra 'onnx'"):
        require('onnxruntime')


def test_the_first_package_is_returned():
    assert require('json', 'math').__name__ == 'json'
