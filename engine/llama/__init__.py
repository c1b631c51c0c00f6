"""Wrap llama.cpp's model, context, adapter and sampler chain in handles that own them.

Only this package imports llama_cpp. It uses the low-level calls of `llama.h`, since the high-level
class accepts only one adapter, turns mmap off with it and redirects the process's stdout and
stderr to /dev/null while it loads.

llama.cpp crashes with a segmentation fault if an adapter is freed while it is set on a context, or
after its model. `Model.close` therefore closes its contexts, then its adapters, then itself, and
an adapter is removed from every context before it is freed.
"""
