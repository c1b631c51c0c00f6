"""Fuse a stack of adapters into one: exactly, compressed to a rank, or as a PEFT folder."""
