"""Commands that convert, fuse, merge and extract adapters."""
