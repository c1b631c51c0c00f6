"""Draw the conversation."""
