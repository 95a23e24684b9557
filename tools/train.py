"""Train a model: stage one, stage two or flow pre-training, depending on the config."""

from semidff import commands

if __name__ == '__main__':
    commands.train()
