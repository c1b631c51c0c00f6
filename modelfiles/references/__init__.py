"""Resolve the references of a Modelfile: paths, model names, the Hub, pulled adapters."""
