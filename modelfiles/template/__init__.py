"""Chat templates: render a conversation to the text that a model was trained to continue."""
