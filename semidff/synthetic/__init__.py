"""Generated data set of the quick start: objects that walk, bend and turn, with exact labels.

``build_dataset(root, make_spec('quickstart'))`` writes the data set. It needs numpy and OpenCV
only.
"""
