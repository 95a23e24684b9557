"""Measure the speed of video detectors."""

from semidff import commands

if __name__ == '__main__':
    commands.speed()
