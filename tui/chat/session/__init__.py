"""Run a chat without a screen: the conversation, the mix, and the engine that answers."""
