"""Benchmarks, run by `make bench`, that print ratios of alternatives measured side by side."""
