"""Count the operations and parameters of a video detector's parts."""

from semidff import commands

if __name__ == '__main__':
    commands.complexity()
