"""Generated data set of the quick start: textured objects in uneven motion, exact labels and flow.

``build_dataset(root, make_spec('quickstart'))`` writes the data set. It needs numpy and OpenCV
only.
"""
