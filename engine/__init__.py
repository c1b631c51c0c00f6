"""Run models: llama.cpp handles, the adapter stack, generation and the worker."""
