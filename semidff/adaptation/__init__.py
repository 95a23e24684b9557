"""From an image detector and videos to a faster video detector: steps over one folder."""

from .folder import AdaptError
