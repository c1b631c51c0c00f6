"""Understand PEFT's configuration and its names of modules."""
