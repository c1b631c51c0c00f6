"""Merge a stack of adapters into its base: one GGUF model that needs no adapters."""
