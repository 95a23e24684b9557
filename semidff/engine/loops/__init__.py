"""Loops for distillation and for tests on videos."""
