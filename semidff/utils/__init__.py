"""Files, checkpoints, model building, progress and tables for all other packages."""
