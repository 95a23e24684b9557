"""What every other package uses: files, checkpoints, models, progress, tables."""
