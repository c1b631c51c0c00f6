"""Turns LoRA adapters of other programs into GGUF files that fit one base."""
