"""Chat templates: from a conversation to the text a model was trained to continue."""
