"""Search the Hub for adapters of a base, and judge their fit by their header."""
