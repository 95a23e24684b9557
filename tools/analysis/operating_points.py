"""Compare operating points of a video detector: accuracy and time."""

from semidff import commands

if __name__ == '__main__':
    commands.operating_points()
