"""Files of results, written while the videos run."""
