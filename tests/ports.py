"""A network port for processes that a test starts."""

import socket


def free_port() -> int:
    """A port of this machine that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]
