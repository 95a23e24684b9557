"""Settings of all tests."""

import gc
import logging
import os
import signal

import pytest
from mmengine.logging import MMLogger
from yapf.yapflib import yapf_api

import semidff  # noqa: F401 (before a test imports mmcv.ops)
from semidff.apis import archive, video_inferencer
from tests.simulated_gpu import simulated_gpu

# Configs read these; an experiment of the user's shell must not become the tests' data.
for _name in ('EXPERIMENT_DIR', 'RUN_DIR', 'DATA_ROOT', 'TRUNK'):
    os.environ.pop(_name, None)
# Trainings and inferencers would take a GPU, while the tests compare on the CPU.
if not os.environ.get('SEMIDFF_TEST_GPU'):
    os.environ['CUDA_VISIBLE_DEVICES'] = ''

# By default, inferencers of tests run in PyTorch: most tests compare bits.
for _module in (archive, video_inferencer):
    _module.default_runtime = lambda *_, **options: 'torch'


def pytest_collection_finish():
    """Exempt what the imports have made from garbage collection; mmengine's data sets start one
    each.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _configs_are_not_formatted(monkeypatch):
    """Write configs as they are: mmengine formats each several times, most of the time of a short
    training.
    """
    monkeypatch.setattr(yapf_api, 'FormatCode', lambda text, **_: (text, True))


@pytest.fixture
def log(caplog):
    """Records of mmengine's current logger, which does not propagate to the root logger."""
    logger = MMLogger.get_current_instance()
    logger._cache.clear()  # logging.disable() does so only for loggers that logging itself has made
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def gpu():
    """The simulated GPU, in this process: all that it patches is restored behind the test, threads
    included.
    """
    with simulated_gpu() as gpu:
        yield gpu


@pytest.fixture
def interruptible():
    """A shell in the background has its commands ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
