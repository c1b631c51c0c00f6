"""Generate an answer: sample tokens, split thoughts, and end where the answer ends."""
