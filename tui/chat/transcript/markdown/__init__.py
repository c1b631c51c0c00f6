"""Parse the Markdown of answers into a flat list of blocks, whole or while it streams in."""
