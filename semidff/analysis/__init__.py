"""Speed, part times and complexity of a video detector."""
