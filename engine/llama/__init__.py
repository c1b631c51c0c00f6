"""llama.cpp behind owned handles: model, context, adapter and sampler chain.

Only this package imports llama_cpp. It uses the low-level calls of `llama.h`, since the high-level
class takes one adapter, turns mmap off with it and points the process's stdout and stderr at
/dev/null while it loads.

Order of release matters in llama.cpp: freeing an adapter that is still set on a context, or after
its model, is a segmentation fault. `Model.close` therefore closes its contexts, then its adapters,
then itself, and an adapter takes itself out of every context before it is freed.
"""
