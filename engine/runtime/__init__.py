"""Answer conversations with a base model and an adapter stack inside the worker process."""
