"""Convert parameters of the original Deep Feature Flow (MXNet), or join parts of several checkpoints."""

from semidff import commands

if __name__ == '__main__':
    commands.convert_checkpoint()
