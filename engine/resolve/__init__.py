"""Resolve what a user names to an adapter that is checked against the base."""
