"""Convert parameters of the original Deep Feature Flow, or join parts of checkpoints."""

from semidff import commands

if __name__ == '__main__':
    commands.convert_checkpoint()
