"""Read arguments from a shell, and print to it."""
