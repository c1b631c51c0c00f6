"""Read adapters of PEFT and MLX as named pairs of factors."""
