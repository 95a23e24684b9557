"""Draw the propagation from a key frame to other frames of a video."""

from semidff import commands

if __name__ == '__main__':
    commands.show_propagation()
