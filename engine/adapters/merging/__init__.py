"""Bakes a stack of adapters into its base: one GGUF file that needs none."""
