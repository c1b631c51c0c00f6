"""Find, check and pull adapters of the Hugging Face Hub for the chat; the screens are elsewhere."""
