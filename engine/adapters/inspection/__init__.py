"""Inspect adapters: metadata, changed tensors, norms and overlap."""
