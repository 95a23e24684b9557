from tests.tiny.videos import *  # noqa: F403
