"""Locate the state of the program on disk, lock it and stage changes to it."""
