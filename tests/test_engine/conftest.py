import pytest

from tests.tiny.training import write_videos


@pytest.fixture(scope='package')
def videos(tmp_path_factory):
    """The list of two tiny videos."""
    return write_videos(tmp_path_factory.mktemp('videos'))
