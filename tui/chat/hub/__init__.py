"""Adapters of the Hugging Face Hub in the chat: searched, judged, pulled; no screen among it."""
