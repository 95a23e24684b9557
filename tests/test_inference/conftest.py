"""The video detector of the tests."""

import pytest

from tests.tiny.videos import build, video_detector_cfg


@pytest.fixture(scope='module')
def model():
    return build(video_detector_cfg())
