"""Converters of annotations and checkpoints of other projects."""
