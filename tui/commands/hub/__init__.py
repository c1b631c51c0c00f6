"""Commands that talk to the Hugging Face Hub."""
