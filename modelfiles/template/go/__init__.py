"""Evaluate Go's text/template to the extent that chat templates use it."""
