"""The synthetic world of the quick start: textured objects in uneven motion, and all their truth.

numpy and OpenCV only; nothing here is registered. `build_dataset(root, make_spec('quickstart'))`
writes a world.
"""
