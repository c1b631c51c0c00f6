"""What adapters are, change and have in common."""
