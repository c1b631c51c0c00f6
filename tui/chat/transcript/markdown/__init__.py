"""Markdown of answers as a flat list of blocks, whole or as it streams in."""
