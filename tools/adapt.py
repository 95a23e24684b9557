"""Turn an image detector into a faster video detector, with unlabeled videos."""

from semidff import commands

if __name__ == '__main__':
    commands.adapt()
