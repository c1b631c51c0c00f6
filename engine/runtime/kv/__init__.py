"""Reuse the KV cache across turns and stacks, in memory and on disk."""
