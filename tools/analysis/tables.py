"""Make the tables of an experiment from the results of its rows."""

from semidff import commands

if __name__ == '__main__':
    commands.tables()
