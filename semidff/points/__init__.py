"""Operating points of a video detector: what each one costs and reaches."""
