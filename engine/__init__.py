"""What runs a model: llama.cpp handles, the adapter stack, generation and the worker."""
