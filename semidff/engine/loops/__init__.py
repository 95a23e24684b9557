"""Loops for tests on videos."""
