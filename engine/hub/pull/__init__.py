"""Download adapters and models from the Hub, checked and pinned to a revision."""
