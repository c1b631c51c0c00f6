"""Publish adapters on the Hub."""
