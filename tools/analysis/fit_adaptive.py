"""Fit an adaptive key-frame schedule to a video detector."""

from semidff import commands

if __name__ == '__main__':
    commands.fit_adaptive()
