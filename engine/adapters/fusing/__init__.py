"""A stack of adapters as one: exact, compressed to a rank, or as a PEFT folder."""
