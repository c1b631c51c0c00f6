"""Decide where each trained pair goes among the base's tensors, and in which row order."""
