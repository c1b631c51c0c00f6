"""Measure what a stack and its adapters change in the answers of a base."""
