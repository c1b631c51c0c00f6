"""Draw the prompt, where messages and slash commands are typed."""
