"""The commands of `tui`, one module each."""
