"""Files, command lines, processes, progress and tables for all other packages."""
