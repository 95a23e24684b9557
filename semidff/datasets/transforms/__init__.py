"""Transforms of frames, frame pairs and flow pairs."""
