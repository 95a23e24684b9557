"""Write the generated data set of the quick start."""

from semidff import commands

if __name__ == '__main__':
    commands.make_synthetic()
