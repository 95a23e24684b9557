"""Detect objects in a video or segment it."""

from semidff import commands

if __name__ == '__main__':
    commands.demo()
