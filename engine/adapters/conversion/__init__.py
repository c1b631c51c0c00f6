"""Convert PEFT and MLX adapters into GGUF adapters for one base model."""
