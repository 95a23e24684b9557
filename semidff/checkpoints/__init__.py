"""Checkpoints and the models that they belong to: safe reading, strict loading, building, names of detectors."""
