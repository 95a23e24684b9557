"""Test a detector on videos."""

from semidff import commands

if __name__ == '__main__':
    commands.test()
