"""Checkpoints, and the models that are built for them."""
