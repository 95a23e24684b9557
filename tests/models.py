from tests.tiny.models import *  # noqa: F403
